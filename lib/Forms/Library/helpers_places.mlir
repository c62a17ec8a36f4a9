// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Helpers that choose elements and look them up; see helpers.mlir.

// Of each row the softmax over its k largest elements, the first ones among equals; the others are zero.
func.func @top_softmax(%a: tensor<?x?xf64>, %k: index) -> tensor<?x?xf64> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f64
  %m = tensor.dim %a, %c0 : tensor<?x?xf64>
  %n = tensor.dim %a, %c1 : tensor<?x?xf64>
  %room = tensor.empty(%m, %n) : tensor<?x?xf64>
  %init = linalg.fill ins(%zero : f64) outs(%room : tensor<?x?xf64>) -> tensor<?x?xf64>
  %most = arith.minui %k, %n : index
  %r = scf.for %i = %c0 to %m step %c1 iter_args(%t = %init) -> tensor<?x?xf64> {
    // An element that was chosen is not zero any more: e^x never is, of what is below the largest by less than 700.
    %top = scf.for %j = %c0 to %n step %c1 iter_args(%best = %c0) -> index {
      %x = tensor.extract %a[%i, %j] : tensor<?x?xf64>
      %y = tensor.extract %a[%i, %best] : tensor<?x?xf64>
      %more = arith.cmpf ogt, %x, %y : f64
      %next = arith.select %more, %j, %best : index
      scf.yield %next : index
    }
    %largest = tensor.extract %a[%i, %top] : tensor<?x?xf64>
    %u:2 = scf.for %count = %c0 to %most step %c1 iter_args(%v = %t, %sum = %zero) -> (tensor<?x?xf64>, f64) {
      %at = scf.for %j = %c0 to %n step %c1 iter_args(%best = %n) -> index {
        %done = tensor.extract %v[%i, %j] : tensor<?x?xf64>
        %free = arith.cmpf oeq, %done, %zero : f64
        %x = tensor.extract %a[%i, %j] : tensor<?x?xf64>
        %none = arith.cmpi eq, %best, %n : index
        %safe = arith.select %none, %j, %best : index
        %y = tensor.extract %a[%i, %safe] : tensor<?x?xf64>
        %more = arith.cmpf ogt, %x, %y : f64
        %better = arith.ori %none, %more : i1
        %takes = arith.andi %free, %better : i1
        %next = arith.select %takes, %j, %best : index
        scf.yield %next : index
      }
      %x = tensor.extract %a[%i, %at] : tensor<?x?xf64>
      %below = arith.subf %x, %largest : f64
      %e = math.exp %below : f64
      %tiny = arith.constant 1.0e-300 : f64
      %share = arith.maximumf %e, %tiny : f64
      %v1 = tensor.insert %share into %v[%i, %at] : tensor<?x?xf64>
      %s = arith.addf %sum, %share : f64
      scf.yield %v1, %s : tensor<?x?xf64>, f64
    }
    %t1 = scf.for %j = %c0 to %n step %c1 iter_args(%v = %u#0) -> tensor<?x?xf64> {
      %x = tensor.extract %v[%i, %j] : tensor<?x?xf64>
      %q = arith.divf %x, %u#1 : f64
      %v1 = tensor.insert %q into %v[%i, %j] : tensor<?x?xf64>
      scf.yield %v1 : tensor<?x?xf64>
    }
    scf.yield %t1 : tensor<?x?xf64>
  }
  return %r : tensor<?x?xf64>
}

// Rows [m, n] that are w[i, k] at places[i, k], and at the last place what is missing of 1.
func.func @shares_of(%places: tensor<?x?xi64>, %w: tensor<?x?xf64>, %n: index) -> tensor<?x?xf64> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f64
  %one = arith.constant 1.0 : f64
  %m = tensor.dim %places, %c0 : tensor<?x?xi64>
  %k = tensor.dim %w, %c1 : tensor<?x?xf64>
  %room = tensor.empty(%m, %n) : tensor<?x?xf64>
  %init = linalg.fill ins(%zero : f64) outs(%room : tensor<?x?xf64>) -> tensor<?x?xf64>
  %r = scf.for %i = %c0 to %m step %c1 iter_args(%t = %init) -> tensor<?x?xf64> {
    %u:2 = scf.for %j = %c0 to %k step %c1 iter_args(%v = %t, %left = %one) -> (tensor<?x?xf64>, f64) {
      %p = tensor.extract %places[%i, %j] : tensor<?x?xi64>
      %at = arith.index_cast %p : i64 to index
      %x = tensor.extract %w[%i, %j] : tensor<?x?xf64>
      %before = tensor.extract %v[%i, %at] : tensor<?x?xf64>
      %sum = arith.addf %before, %x : f64
      %v1 = tensor.insert %sum into %v[%i, %at] : tensor<?x?xf64>
      %rest = arith.subf %left, %x : f64
      scf.yield %v1, %rest : tensor<?x?xf64>, f64
    }
    %p = tensor.extract %places[%i, %k] : tensor<?x?xi64>
    %at = arith.index_cast %p : i64 to index
    %before = tensor.extract %u#0[%i, %at] : tensor<?x?xf64>
    %sum = arith.addf %before, %u#1 : f64
    %t1 = tensor.insert %sum into %u#0[%i, %at] : tensor<?x?xf64>
    scf.yield %t1 : tensor<?x?xf64>
  }
  return %r : tensor<?x?xf64>
}

// t[places[i, j]] * factors[i, j].
func.func @looked_up(%t: tensor<?xf64>, %places: tensor<?x?xi64>, %factors: tensor<?x?xf64>) -> tensor<?x?xf64> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %m = tensor.dim %places, %c0 : tensor<?x?xi64>
  %n = tensor.dim %places, %c1 : tensor<?x?xi64>
  %r = tensor.generate %m, %n {
  ^bb0(%i: index, %j: index):
    %p = tensor.extract %places[%i, %j] : tensor<?x?xi64>
    %at = arith.index_cast %p : i64 to index
    %x = tensor.extract %t[%at] : tensor<?xf64>
    %f = tensor.extract %factors[%i, %j] : tensor<?x?xf64>
    %y = arith.mulf %x, %f : f64
    tensor.yield %y : f64
  } : tensor<?x?xf64>
  return %r : tensor<?x?xf64>
}

// The order of a level of a butterfly over n entries in blocks of b: within runs of b 2^level entries the even halves of
// blocks, then the odd ones.
func.func @butterfly(%n: index, %b: index, %level: index) -> tensor<?xi64> {
  %c1 = arith.constant 1 : index
  %half = arith.shrui %b, %c1 : index
  %blocks = arith.shli %c1, %level : index
  %run = arith.muli %b, %blocks : index
  %r = tensor.generate %n {
  ^bb0(%t: index):
    %within = arith.remui %t, %run : index
    %start = arith.subi %t, %within : index
    %group = arith.divui %within, %half : index
    %at = arith.remui %within, %half : index
    %even = arith.cmpi ult, %group, %blocks : index
    %twice = arith.addi %group, %group : index
    %past = arith.subi %group, %blocks : index
    %odd2 = arith.addi %past, %past : index
    %odd = arith.addi %odd2, %c1 : index
    %source = arith.select %even, %twice, %odd : index
    %offset = arith.muli %source, %half : index
    %x = arith.addi %start, %offset : index
    %y = arith.addi %x, %at : index
    %z = arith.index_cast %y : index to i64
    tensor.yield %z : i64
  } : tensor<?xi64>
  return %r : tensor<?xi64>
}

// Element i, or the only one.
func.func @element(%v: tensor<?xf64>, %i: index) -> f64 {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = tensor.dim %v, %c0 : tensor<?xf64>
  %isOne = arith.cmpi eq, %n, %c1 : index
  %at = arith.select %isOne, %c0, %i : index
  %x = tensor.extract %v[%at] : tensor<?xf64>
  return %x : f64
}

// a c, with c a vector or one number for all elements.
func.func @row_sums(%a: tensor<?x?xf64>, %c: tensor<?xf64>) -> tensor<?xf64> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f64
  %m = tensor.dim %a, %c0 : tensor<?x?xf64>
  %n = tensor.dim %a, %c1 : tensor<?x?xf64>
  %r = tensor.generate %m {
  ^bb0(%i: index):
    %sum = scf.for %j = %c0 to %n step %c1 iter_args(%s = %zero) -> f64 {
      %x = tensor.extract %a[%i, %j] : tensor<?x?xf64>
      %f = func.call @element(%c, %j) : (tensor<?xf64>, index) -> f64
      %p = arith.mulf %x, %f : f64
      %t = arith.addf %s, %p : f64
      scf.yield %t : f64
    }
    tensor.yield %sum : f64
  } : tensor<?xf64>
  return %r : tensor<?xf64>
}

// Rows [r, k w] put together of k rows of a pool [n, w] each, by their numbers [r, k].
func.func @pieces(%pool: tensor<?x?xf64>, %places: tensor<?x?xi64>) -> tensor<?x?xf64> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %r = tensor.dim %places, %c0 : tensor<?x?xi64>
  %k = tensor.dim %places, %c1 : tensor<?x?xi64>
  %w = tensor.dim %pool, %c1 : tensor<?x?xf64>
  %n = arith.muli %k, %w : index
  %m = tensor.generate %r, %n {
  ^bb0(%i: index, %c: index):
    %piece = arith.divui %c, %w : index
    %at = arith.remui %c, %w : index
    %row64 = tensor.extract %places[%i, %piece] : tensor<?x?xi64>
    %row = arith.index_cast %row64 : i64 to index
    %x = tensor.extract %pool[%row, %at] : tensor<?x?xf64>
    tensor.yield %x : f64
  } : tensor<?x?xf64>
  return %m : tensor<?x?xf64>
}

// [m, n] with a 1 at (places[j], j) for each column.
func.func @selection(%places: tensor<?xi64>, %m: index) -> tensor<?x?xf64> {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f64
  %one = arith.constant 1.0 : f64
  %n = tensor.dim %places, %c0 : tensor<?xi64>
  %e = tensor.generate %m, %n {
  ^bb0(%i: index, %j: index):
    %p64 = tensor.extract %places[%j] : tensor<?xi64>
    %p = arith.index_cast %p64 : i64 to index
    %same = arith.cmpi eq, %i, %p : index
    %x = arith.select %same, %one, %zero : f64
    tensor.yield %x : f64
  } : tensor<?x?xf64>
  return %e : tensor<?x?xf64>
}
