// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Helpers for batches of matrices, tensor<?x?x?xf64>; see helpers.mlir.

// a[b] c[b] of each matrix of two batches.
func.func @batch_matmul(%a: tensor<?x?x?xf64>, %b: tensor<?x?x?xf64>) -> tensor<?x?x?xf64> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %zero = arith.constant 0.0 : f64
  %k = tensor.dim %a, %c0 : tensor<?x?x?xf64>
  %m = tensor.dim %a, %c1 : tensor<?x?x?xf64>
  %n = tensor.dim %b, %c2 : tensor<?x?x?xf64>
  %empty = tensor.empty(%k, %m, %n) : tensor<?x?x?xf64>
  %init = linalg.fill ins(%zero : f64) outs(%empty : tensor<?x?x?xf64>) -> tensor<?x?x?xf64>
  %r = linalg.generic {
      indexing_maps = [affine_map<(b, i, k, j) -> (b, i, k)>, affine_map<(b, i, k, j) -> (b, k, j)>,
                       affine_map<(b, i, k, j) -> (b, i, j)>],
      iterator_types = ["parallel", "parallel", "reduction", "parallel"]}
      ins(%a, %b : tensor<?x?x?xf64>, tensor<?x?x?xf64>) outs(%init : tensor<?x?x?xf64>) {
  ^bb0(%x: f64, %y: f64, %sum: f64):
    %p = arith.mulf %x, %y : f64
    %s = arith.addf %sum, %p : f64
    linalg.yield %s : f64
  } -> tensor<?x?x?xf64>
  return %r : tensor<?x?x?xf64>
}

// The skew-symmetric matrices [k, b, b] of their strict upper triangles [k, b (b - 1) / 2], row by row.
func.func @skew(%r: tensor<?x?xf64>, %b: index) -> tensor<?x?x?xf64> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %zero = arith.constant 0.0 : f64
  %k = tensor.dim %r, %c0 : tensor<?x?xf64>
  %empty = tensor.empty(%k, %b, %b) : tensor<?x?x?xf64>
  %q = linalg.generic {indexing_maps = [affine_map<(k, i, j) -> (k, i, j)>],
                       iterator_types = ["parallel", "parallel", "parallel"]}
      outs(%empty : tensor<?x?x?xf64>) {
  ^bb0(%unused: f64):
    %block = linalg.index 0 : index
    %i = linalg.index 1 : index
    %j = linalg.index 2 : index
    %low = arith.minui %i, %j : index
    %high = arith.maxui %i, %j : index
    %same = arith.cmpi eq, %i, %j : index
    // low b - low (low + 1) / 2 + high - low - 1, and something within the tensor on the diagonal.
    %lowb = arith.muli %low, %b : index
    %next = arith.addi %low, %c1 : index
    %twice = arith.muli %low, %next : index
    %before = arith.divui %twice, %c2 : index
    %start = arith.subi %lowb, %before : index
    %way = arith.subi %high, %next : index
    %at = arith.addi %start, %way : index
    %inside = arith.select %same, %c0, %at : index
    %value = tensor.extract %r[%block, %inside] : tensor<?x?xf64>
    %negated = arith.negf %value : f64
    %upper = arith.cmpi ult, %i, %j : index
    %signed = arith.select %upper, %value, %negated : f64
    %element = arith.select %same, %zero, %signed : f64
    linalg.yield %element : f64
  } -> tensor<?x?x?xf64>
  return %q : tensor<?x?x?xf64>
}

// x with each matrix of a batch [k, m, n] multiplied by its own of k factors.
func.func @batch_scaled(%a: tensor<?x?x?xf64>, %factors: tensor<?xf64>) -> tensor<?x?x?xf64> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %k = tensor.dim %a, %c0 : tensor<?x?x?xf64>
  %m = tensor.dim %a, %c1 : tensor<?x?x?xf64>
  %n = tensor.dim %a, %c2 : tensor<?x?x?xf64>
  %empty = tensor.empty(%k, %m, %n) : tensor<?x?x?xf64>
  %r = linalg.generic {
      indexing_maps = [affine_map<(b, i, j) -> (b, i, j)>, affine_map<(b, i, j) -> (b)>, affine_map<(b, i, j) -> (b, i, j)>],
      iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%a, %factors : tensor<?x?x?xf64>, tensor<?xf64>) outs(%empty : tensor<?x?x?xf64>) {
  ^bb0(%x: f64, %f: f64, %unused: f64):
    %p = arith.mulf %x, %f : f64
    linalg.yield %p : f64
  } -> tensor<?x?x?xf64>
  return %r : tensor<?x?x?xf64>
}

// The square root of the sum of squares of each matrix of a batch.
func.func @batch_norms(%a: tensor<?x?x?xf64>) -> tensor<?xf64> {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f64
  %k = tensor.dim %a, %c0 : tensor<?x?x?xf64>
  %empty = tensor.empty(%k) : tensor<?xf64>
  %init = linalg.fill ins(%zero : f64) outs(%empty : tensor<?xf64>) -> tensor<?xf64>
  %squares = linalg.generic {
      indexing_maps = [affine_map<(b, i, j) -> (b, i, j)>, affine_map<(b, i, j) -> (b)>],
      iterator_types = ["parallel", "reduction", "reduction"]}
      ins(%a : tensor<?x?x?xf64>) outs(%init : tensor<?xf64>) {
  ^bb0(%x: f64, %sum: f64):
    %p = arith.mulf %x, %x : f64
    %s = arith.addf %sum, %p : f64
    linalg.yield %s : f64
  } -> tensor<?xf64>
  %r = math.sqrt %squares : tensor<?xf64>
  return %r : tensor<?xf64>
}

// Identity matrices [k, b, b] of the sizes of a batch.
func.func @batch_identity(%like: tensor<?x?x?xf64>) -> tensor<?x?x?xf64> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %one = arith.constant 1.0 : f64
  %zero = arith.constant 0.0 : f64
  %k = tensor.dim %like, %c0 : tensor<?x?x?xf64>
  %b = tensor.dim %like, %c1 : tensor<?x?x?xf64>
  %empty = tensor.empty(%k, %b, %b) : tensor<?x?x?xf64>
  %r = linalg.generic {indexing_maps = [affine_map<(k, i, j) -> (k, i, j)>],
                       iterator_types = ["parallel", "parallel", "parallel"]}
      outs(%empty : tensor<?x?x?xf64>) {
  ^bb0(%unused: f64):
    %i = linalg.index 1 : index
    %j = linalg.index 2 : index
    %same = arith.cmpi eq, %i, %j : index
    %element = arith.select %same, %one, %zero : f64
    linalg.yield %element : f64
  } -> tensor<?x?x?xf64>
  return %r : tensor<?x?x?xf64>
}

// a^-1 c of each pair of matrices of two batches, by elimination with the largest pivot of a column.
func.func @batch_solve(%a: tensor<?x?x?xf64>, %c: tensor<?x?x?xf64>) -> tensor<?x?x?xf64> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %k = tensor.dim %a, %c0 : tensor<?x?x?xf64>
  %n = tensor.dim %a, %c1 : tensor<?x?x?xf64>
  %w = tensor.dim %c, %c2 : tensor<?x?x?xf64>
  %r:2 = scf.for %b = %c0 to %k step %c1 iter_args(%a0 = %a, %x0 = %c) -> (tensor<?x?x?xf64>, tensor<?x?x?xf64>) {
    %s:2 = scf.for %p = %c0 to %n step %c1 iter_args(%a1 = %a0, %x1 = %x0) -> (tensor<?x?x?xf64>, tensor<?x?x?xf64>) {
      // The row at or below p with the largest element in column p.
      %first = tensor.extract %a1[%b, %p, %p] : tensor<?x?x?xf64>
      %start = math.absf %first : f64
      %best:2 = scf.for %i = %p to %n step %c1 iter_args(%row = %p, %size = %start) -> (index, f64) {
        %e = tensor.extract %a1[%b, %i, %p] : tensor<?x?x?xf64>
        %abs = math.absf %e : f64
        %larger = arith.cmpf ogt, %abs, %size : f64
        %nr = arith.select %larger, %i, %row : index
        %ns = arith.select %larger, %abs, %size : f64
        scf.yield %nr, %ns : index, f64
      }
      %a2 = scf.for %j = %c0 to %n step %c1 iter_args(%t = %a1) -> tensor<?x?x?xf64> {
        %u = tensor.extract %t[%b, %p, %j] : tensor<?x?x?xf64>
        %v = tensor.extract %t[%b, %best#0, %j] : tensor<?x?x?xf64>
        %t1 = tensor.insert %v into %t[%b, %p, %j] : tensor<?x?x?xf64>
        %t2 = tensor.insert %u into %t1[%b, %best#0, %j] : tensor<?x?x?xf64>
        %again = arith.cmpi eq, %p, %best#0 : index
        %keep = arith.select %again, %v, %u : f64
        %t3 = tensor.insert %keep into %t2[%b, %best#0, %j] : tensor<?x?x?xf64>
        scf.yield %t3 : tensor<?x?x?xf64>
      }
      %x2 = scf.for %j = %c0 to %w step %c1 iter_args(%t = %x1) -> tensor<?x?x?xf64> {
        %u = tensor.extract %t[%b, %p, %j] : tensor<?x?x?xf64>
        %v = tensor.extract %t[%b, %best#0, %j] : tensor<?x?x?xf64>
        %t1 = tensor.insert %v into %t[%b, %p, %j] : tensor<?x?x?xf64>
        %t2 = tensor.insert %u into %t1[%b, %best#0, %j] : tensor<?x?x?xf64>
        scf.yield %t2 : tensor<?x?x?xf64>
      }
      // Every other row loses its element in column p.
      %pivot = tensor.extract %a2[%b, %p, %p] : tensor<?x?x?xf64>
      %e:2 = scf.for %i = %c0 to %n step %c1 iter_args(%a3 = %a2, %x3 = %x2) -> (tensor<?x?x?xf64>, tensor<?x?x?xf64>) {
        %other = arith.cmpi ne, %i, %p : index
        %head = tensor.extract %a3[%b, %i, %p] : tensor<?x?x?xf64>
        %ratio = arith.divf %head, %pivot : f64
        %none = arith.constant 0.0 : f64
        %f = arith.select %other, %ratio, %none : f64
        %a4 = scf.for %j = %p to %n step %c1 iter_args(%t = %a3) -> tensor<?x?x?xf64> {
          %u = tensor.extract %t[%b, %i, %j] : tensor<?x?x?xf64>
          %v = tensor.extract %t[%b, %p, %j] : tensor<?x?x?xf64>
          %fv = arith.mulf %f, %v : f64
          %d = arith.subf %u, %fv : f64
          %t1 = tensor.insert %d into %t[%b, %i, %j] : tensor<?x?x?xf64>
          scf.yield %t1 : tensor<?x?x?xf64>
        }
        %x4 = scf.for %j = %c0 to %w step %c1 iter_args(%t = %x3) -> tensor<?x?x?xf64> {
          %u = tensor.extract %t[%b, %i, %j] : tensor<?x?x?xf64>
          %v = tensor.extract %t[%b, %p, %j] : tensor<?x?x?xf64>
          %fv = arith.mulf %f, %v : f64
          %d = arith.subf %u, %fv : f64
          %t1 = tensor.insert %d into %t[%b, %i, %j] : tensor<?x?x?xf64>
          scf.yield %t1 : tensor<?x?x?xf64>
        }
        scf.yield %a4, %x4 : tensor<?x?x?xf64>, tensor<?x?x?xf64>
      }
      scf.yield %e#0, %e#1 : tensor<?x?x?xf64>, tensor<?x?x?xf64>
    }
    %x5 = scf.for %i = %c0 to %n step %c1 iter_args(%t = %s#1) -> tensor<?x?x?xf64> {
      %pivot = tensor.extract %s#0[%b, %i, %i] : tensor<?x?x?xf64>
      %row = scf.for %j = %c0 to %w step %c1 iter_args(%u = %t) -> tensor<?x?x?xf64> {
        %v = tensor.extract %u[%b, %i, %j] : tensor<?x?x?xf64>
        %q = arith.divf %v, %pivot : f64
        %u1 = tensor.insert %q into %u[%b, %i, %j] : tensor<?x?x?xf64>
        scf.yield %u1 : tensor<?x?x?xf64>
      }
      scf.yield %row : tensor<?x?x?xf64>
    }
    scf.yield %s#0, %x5 : tensor<?x?x?xf64>, tensor<?x?x?xf64>
  }
  return %r#1 : tensor<?x?x?xf64>
}

// sum_k v[k] a[k] of a batch of matrices.
func.func @weighted_sum(%a: tensor<?x?x?xf64>, %v: tensor<?xf64>) -> tensor<?x?xf64> {
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %zero = arith.constant 0.0 : f64
  %m = tensor.dim %a, %c1 : tensor<?x?x?xf64>
  %n = tensor.dim %a, %c2 : tensor<?x?x?xf64>
  %room = tensor.empty(%m, %n) : tensor<?x?xf64>
  %init = linalg.fill ins(%zero : f64) outs(%room : tensor<?x?xf64>) -> tensor<?x?xf64>
  %r = linalg.generic {
      indexing_maps = [affine_map<(k, i, j) -> (k, i, j)>, affine_map<(k, i, j) -> (k)>, affine_map<(k, i, j) -> (i, j)>],
      iterator_types = ["reduction", "parallel", "parallel"]}
      ins(%a, %v : tensor<?x?x?xf64>, tensor<?xf64>) outs(%init : tensor<?x?xf64>) {
  ^bb0(%x: f64, %f: f64, %sum: f64):
    %p = arith.mulf %x, %f : f64
    %s = arith.addf %sum, %p : f64
    linalg.yield %s : f64
  } -> tensor<?x?xf64>
  return %r : tensor<?x?xf64>
}

// The Cayley transforms (I - S) (I + S)^-1 of S = (R - R') / 2 of each matrix of a batch.
func.func @cayley_of(%r: tensor<?x?x?xf64>) -> tensor<?x?x?xf64> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %half = arith.constant 0.5 : f64
  %k = tensor.dim %r, %c0 : tensor<?x?x?xf64>
  %b = tensor.dim %r, %c1 : tensor<?x?x?xf64>
  %s = tensor.generate %k, %b, %b {
  ^bb0(%n: index, %i: index, %j: index):
    %x = tensor.extract %r[%n, %i, %j] : tensor<?x?x?xf64>
    %y = tensor.extract %r[%n, %j, %i] : tensor<?x?x?xf64>
    %d = arith.subf %x, %y : f64
    %h = arith.mulf %d, %half : f64
    tensor.yield %h : f64
  } : tensor<?x?x?xf64>
  %eye = func.call @batch_identity(%s) : (tensor<?x?x?xf64>) -> tensor<?x?x?xf64>
  %plus = arith.addf %eye, %s : tensor<?x?x?xf64>
  %minus = arith.subf %eye, %s : tensor<?x?x?xf64>
  %t = func.call @batch_solve(%plus, %minus) : (tensor<?x?x?xf64>, tensor<?x?x?xf64>) -> tensor<?x?x?xf64>
  return %t : tensor<?x?x?xf64>
}
