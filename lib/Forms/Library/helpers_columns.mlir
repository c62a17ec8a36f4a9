// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Helpers for the columns of a matrix; see helpers.mlir.

// The matrix with each column divided by its length.
func.func @unit_columns(%u: tensor<?x?xf64>) -> tensor<?x?xf64> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f64
  %m = tensor.dim %u, %c0 : tensor<?x?xf64>
  %n = tensor.dim %u, %c1 : tensor<?x?xf64>
  %room = tensor.empty(%n) : tensor<?xf64>
  %init = linalg.fill ins(%zero : f64) outs(%room : tensor<?xf64>) -> tensor<?xf64>
  %squares = linalg.generic {
      indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (j)>],
      iterator_types = ["reduction", "parallel"]}
      ins(%u : tensor<?x?xf64>) outs(%init : tensor<?xf64>) {
  ^bb0(%x: f64, %sum: f64):
    %p = arith.mulf %x, %x : f64
    %s = arith.addf %sum, %p : f64
    linalg.yield %s : f64
  } -> tensor<?xf64>
  %lengths = math.sqrt %squares : tensor<?xf64>
  %empty = tensor.empty(%m, %n) : tensor<?x?xf64>
  %r = linalg.generic {
      indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (j)>, affine_map<(i, j) -> (i, j)>],
      iterator_types = ["parallel", "parallel"]}
      ins(%u, %lengths : tensor<?x?xf64>, tensor<?xf64>) outs(%empty : tensor<?x?xf64>) {
  ^bb0(%x: f64, %length: f64, %unused: f64):
    %q = arith.divf %x, %length : f64
    linalg.yield %q : f64
  } -> tensor<?x?xf64>
  return %r : tensor<?x?xf64>
}

// Columns that are orthogonal, each of length 1: modified Gram-Schmidt in their order.
func.func @gram_schmidt(%u: tensor<?x?xf64>) -> tensor<?x?xf64> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f64
  %m = tensor.dim %u, %c0 : tensor<?x?xf64>
  %n = tensor.dim %u, %c1 : tensor<?x?xf64>
  %q = scf.for %j = %c0 to %n step %c1 iter_args(%v = %u) -> tensor<?x?xf64> {
    %v1 = scf.for %k = %c0 to %j step %c1 iter_args(%t = %v) -> tensor<?x?xf64> {
      %dot = scf.for %i = %c0 to %m step %c1 iter_args(%sum = %zero) -> f64 {
        %x = tensor.extract %t[%i, %k] : tensor<?x?xf64>
        %y = tensor.extract %t[%i, %j] : tensor<?x?xf64>
        %p = arith.mulf %x, %y : f64
        %s = arith.addf %sum, %p : f64
        scf.yield %s : f64
      }
      %t1 = scf.for %i = %c0 to %m step %c1 iter_args(%w = %t) -> tensor<?x?xf64> {
        %x = tensor.extract %w[%i, %k] : tensor<?x?xf64>
        %y = tensor.extract %w[%i, %j] : tensor<?x?xf64>
        %p = arith.mulf %dot, %x : f64
        %d = arith.subf %y, %p : f64
        %w1 = tensor.insert %d into %w[%i, %j] : tensor<?x?xf64>
        scf.yield %w1 : tensor<?x?xf64>
      }
      scf.yield %t1 : tensor<?x?xf64>
    }
    %square = scf.for %i = %c0 to %m step %c1 iter_args(%sum = %zero) -> f64 {
      %x = tensor.extract %v1[%i, %j] : tensor<?x?xf64>
      %p = arith.mulf %x, %x : f64
      %s = arith.addf %sum, %p : f64
      scf.yield %s : f64
    }
    %length = math.sqrt %square : f64
    %v2 = scf.for %i = %c0 to %m step %c1 iter_args(%w = %v1) -> tensor<?x?xf64> {
      %x = tensor.extract %w[%i, %j] : tensor<?x?xf64>
      %d = arith.divf %x, %length : f64
      %w1 = tensor.insert %d into %w[%i, %j] : tensor<?x?xf64>
      scf.yield %w1 : tensor<?x?xf64>
    }
    scf.yield %v2 : tensor<?x?xf64>
  }
  return %q : tensor<?x?xf64>
}

// T [r, r] such that the product of the reflections I - 2 v v' of the columns of V, each of length 1, in their order is
// I - V T V'. Of G = V' V it is upper triangular: T[j, j] = 2, T[i, j] = -2 sum_k T[i, k] G[k, j] for i <= k < j.
func.func @reflections(%g: tensor<?x?xf64>) -> tensor<?x?xf64> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f64
  %two = arith.constant 2.0 : f64
  %less = arith.constant -2.0 : f64
  %r = tensor.dim %g, %c0 : tensor<?x?xf64>
  %empty = tensor.empty(%r, %r) : tensor<?x?xf64>
  %init = linalg.fill ins(%zero : f64) outs(%empty : tensor<?x?xf64>) -> tensor<?x?xf64>
  %t = scf.for %j = %c0 to %r step %c1 iter_args(%t0 = %init) -> tensor<?x?xf64> {
    %t1 = scf.for %i = %c0 to %j step %c1 iter_args(%u = %t0) -> tensor<?x?xf64> {
      %sum = scf.for %k = %i to %j step %c1 iter_args(%s = %zero) -> f64 {
        %x = tensor.extract %u[%i, %k] : tensor<?x?xf64>
        %y = tensor.extract %g[%k, %j] : tensor<?x?xf64>
        %p = arith.mulf %x, %y : f64
        %n = arith.addf %s, %p : f64
        scf.yield %n : f64
      }
      %e = arith.mulf %less, %sum : f64
      %u1 = tensor.insert %e into %u[%i, %j] : tensor<?x?xf64>
      scf.yield %u1 : tensor<?x?xf64>
    }
    %t2 = tensor.insert %two into %t1[%j, %j] : tensor<?x?xf64>
    scf.yield %t2 : tensor<?x?xf64>
  }
  return %t : tensor<?x?xf64>
}

// The length of each column.
func.func @column_lengths(%u: tensor<?x?xf64>) -> tensor<?xf64> {
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f64
  %n = tensor.dim %u, %c1 : tensor<?x?xf64>
  %room = tensor.empty(%n) : tensor<?xf64>
  %init = linalg.fill ins(%zero : f64) outs(%room : tensor<?xf64>) -> tensor<?xf64>
  %squares = linalg.generic {
      indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (j)>],
      iterator_types = ["reduction", "parallel"]}
      ins(%u : tensor<?x?xf64>) outs(%init : tensor<?xf64>) {
  ^bb0(%x: f64, %sum: f64):
    %p = arith.mulf %x, %x : f64
    %s = arith.addf %sum, %p : f64
    linalg.yield %s : f64
  } -> tensor<?xf64>
  %lengths = math.sqrt %squares : tensor<?xf64>
  return %lengths : tensor<?xf64>
}

// The orthogonal factor [m, n] of a = Q R, m >= n, by reflections; R's diagonal has the opposite signs of what each
// reflection found there, as in LAPACK.
func.func @orthogonal_factor(%a: tensor<?x?xf64>) -> tensor<?x?xf64> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f64
  %one = arith.constant 1.0 : f64
  %two = arith.constant 2.0 : f64
  %m = tensor.dim %a, %c0 : tensor<?x?xf64>
  %n = tensor.dim %a, %c1 : tensor<?x?xf64>
  // Column j becomes a vector v below row j, of which I - 2 v v' / |v|^2 is the reflection.
  %vectors = scf.for %j = %c0 to %n step %c1 iter_args(%t = %a) -> tensor<?x?xf64> {
    %square = scf.for %i = %j to %m step %c1 iter_args(%sum = %zero) -> f64 {
      %x = tensor.extract %t[%i, %j] : tensor<?x?xf64>
      %p = arith.mulf %x, %x : f64
      %s = arith.addf %sum, %p : f64
      scf.yield %s : f64
    }
    %length = math.sqrt %square : f64
    %head = tensor.extract %t[%j, %j] : tensor<?x?xf64>
    %signed = math.copysign %length, %head : f64
    %new = arith.addf %head, %signed : f64
    %t0 = tensor.insert %new into %t[%j, %j] : tensor<?x?xf64>
    %next = arith.addi %j, %c1 : index
    %t1 = scf.for %k = %next to %n step %c1 iter_args(%u = %t0) -> tensor<?x?xf64> {
      %u1 = func.call @reflected(%u, %u, %j, %k) : (tensor<?x?xf64>, tensor<?x?xf64>, index, index) -> tensor<?x?xf64>
      scf.yield %u1 : tensor<?x?xf64>
    }
    scf.yield %t1 : tensor<?x?xf64>
  }
  // Q = H_0 .. H_(n - 1) of the first n columns of the identity.
  %eye = tensor.generate %m, %n {
  ^bb0(%i: index, %j: index):
    %same = arith.cmpi eq, %i, %j : index
    %x = arith.select %same, %one, %zero : f64
    tensor.yield %x : f64
  } : tensor<?x?xf64>
  %q = scf.for %back = %c0 to %n step %c1 iter_args(%t = %eye) -> tensor<?x?xf64> {
    %left = arith.subi %n, %back : index
    %j = arith.subi %left, %c1 : index
    %t1 = scf.for %k = %c0 to %n step %c1 iter_args(%u = %t) -> tensor<?x?xf64> {
      %u1 = func.call @reflected(%vectors, %u, %j, %k) : (tensor<?x?xf64>, tensor<?x?xf64>, index, index) -> tensor<?x?xf64>
      scf.yield %u1 : tensor<?x?xf64>
    }
    scf.yield %t1 : tensor<?x?xf64>
  }
  return %q : tensor<?x?xf64>
}

// Column k of u reflected by column j of v from row j on.
func.func @reflected(%v: tensor<?x?xf64>, %u: tensor<?x?xf64>, %j: index, %k: index) -> tensor<?x?xf64> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f64
  %two = arith.constant 2.0 : f64
  %m = tensor.dim %v, %c0 : tensor<?x?xf64>
  %sums:2 = scf.for %i = %j to %m step %c1 iter_args(%square = %zero, %dot = %zero) -> (f64, f64) {
    %x = tensor.extract %v[%i, %j] : tensor<?x?xf64>
    %y = tensor.extract %u[%i, %k] : tensor<?x?xf64>
    %xx = arith.mulf %x, %x : f64
    %xy = arith.mulf %x, %y : f64
    %s = arith.addf %square, %xx : f64
    %d = arith.addf %dot, %xy : f64
    scf.yield %s, %d : f64, f64
  }
  %empty = arith.cmpf oeq, %sums#0, %zero : f64
  %ratio = arith.divf %sums#1, %sums#0 : f64
  %twice = arith.mulf %two, %ratio : f64
  %f = arith.select %empty, %zero, %twice : f64
  %r = scf.for %i = %j to %m step %c1 iter_args(%t = %u) -> tensor<?x?xf64> {
    %x = tensor.extract %v[%i, %j] : tensor<?x?xf64>
    %y = tensor.extract %t[%i, %k] : tensor<?x?xf64>
    %p = arith.mulf %f, %x : f64
    %d = arith.subf %y, %p : f64
    %t1 = tensor.insert %d into %t[%i, %k] : tensor<?x?xf64>
    scf.yield %t1 : tensor<?x?xf64>
  }
  return %r : tensor<?x?xf64>
}
