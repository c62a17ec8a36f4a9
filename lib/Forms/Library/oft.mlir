// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// OFT (arXiv 2306.07280, 2506.19847): blocks of inputs are rotated, W' = W R' with R block-diagonal. PEFT: oft.
// Each block is the Cayley transform (I + Q)^-1 (I - Q) of a skew-symmetric Q, or, with `terms` other than 0, that many
// terms of a series as PEFT has it: I, I + 2 Q, and from three on I + 2 Q + .. + 2 Q^(n - 2) + Q^(n - 1), where three
// are four. `coft` keeps the length of each Q below eps over the root of how many there are.
adapter.form @oft for [linear, convolution]
    roles(%R "R" : "blocks | 1, p")
    scalars(%eps "eps" = 6.0e-05)
    attributes(%terms "terms" = 5, %coft "coft" = 0)
    where("b = (1 + isqrt(1 + 8 * p)) div 2", "blocks = cols / b")
    requires("p == b * (b - 1) / 2", "groups == 1") {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c3 = arith.constant 3 : index
  %one = arith.constant 1.0 : f64
  %two = arith.constant 2.0 : f64
  %b = adapter.symbol "b"
  %blocks = adapter.symbol "blocks"
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
  %k = adapter.blocks %T of %blocks : tensor<?x?x?xf64>
  %turned = adapter.adjoint %k
  %u = adapter.right %turned
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
