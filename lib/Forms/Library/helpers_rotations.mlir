// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A helper for blocks of rotations; see helpers.mlir.

// The rotations [k, b, b] of strict upper triangles [k, b (b - 1) / 2], as oft.mlir says.
func.func @rotations(%R: tensor<?x?xf64>, %b: index, %eps: f64, %terms: index, %coft: index) -> tensor<?x?x?xf64> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c3 = arith.constant 3 : index
  %one = arith.constant 1.0 : f64
  %two = arith.constant 2.0 : f64
  %free = func.call @skew(%R, %b) : (tensor<?x?xf64>, index) -> tensor<?x?x?xf64>

  %given = tensor.dim %R, %c0 : tensor<?x?xf64>
  %given64 = arith.index_cast %given : index to i64
  %count = arith.sitofp %given64 : i64 to f64
  %root = math.sqrt %count : f64
  %limit = arith.divf %eps, %root : f64
  %norms = func.call @batch_norms(%free) : (tensor<?x?x?xf64>) -> tensor<?xf64>
  %clips = arith.cmpi ne, %coft, %c0 : index
  %shares = tensor.generate %given {
  ^bb0(%k: index):
    %norm = tensor.extract %norms[%k] : tensor<?xf64>
    %within = arith.cmpf ole, %norm, %limit : f64
    %share = arith.divf %limit, %norm : f64
    %clipped = arith.select %within, %one, %share : f64
    %f = arith.select %clips, %clipped, %one : f64
    tensor.yield %f : f64
  } : tensor<?xf64>
  %Q = func.call @batch_scaled(%free, %shares) : (tensor<?x?x?xf64>, tensor<?xf64>) -> tensor<?x?x?xf64>

  %eye = func.call @batch_identity(%Q) : (tensor<?x?x?xf64>) -> tensor<?x?x?xf64>
  %exact = arith.cmpi eq, %terms, %c0 : index
  %T = scf.if %exact -> tensor<?x?x?xf64> {
    %plus = arith.addf %eye, %Q : tensor<?x?x?xf64>
    %minus = arith.subf %eye, %Q : tensor<?x?x?xf64>
    %solved = func.call @batch_solve(%plus, %minus) : (tensor<?x?x?xf64>, tensor<?x?x?xf64>) -> tensor<?x?x?xf64>
    scf.yield %solved : tensor<?x?x?xf64>
  } else {
    %isThree = arith.cmpi eq, %terms, %c3 : index
    %four = arith.addi %terms, %c1 : index
    %n = arith.select %isThree, %four, %terms : index
    %last = arith.subi %n, %c1 : index
    %many = arith.cmpi ugt, %n, %c2 : index
    %series:2 = scf.for %i = %c1 to %n step %c1 iter_args(%sum = %eye, %power = %eye) -> (tensor<?x?x?xf64>, tensor<?x?x?xf64>) {
      %next = func.call @batch_matmul(%power, %Q) : (tensor<?x?x?xf64>, tensor<?x?x?xf64>) -> tensor<?x?x?xf64>
      %isLast = arith.cmpi eq, %i, %last : index
      %once = arith.andi %isLast, %many : i1
      %f = arith.select %once, %one, %two : f64
      %factors = tensor.splat %f[%given] : tensor<?xf64>
      %term = func.call @batch_scaled(%next, %factors) : (tensor<?x?x?xf64>, tensor<?xf64>) -> tensor<?x?x?xf64>
      %more = arith.addf %sum, %term : tensor<?x?x?xf64>
      scf.yield %more, %next : tensor<?x?x?xf64>, tensor<?x?x?xf64>
    }
    scf.yield %series#0 : tensor<?x?x?xf64>
  }
  return %T : tensor<?x?x?xf64>
}
