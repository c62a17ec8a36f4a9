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
  %b = adapter.symbol "b"
  %blocks = adapter.symbol "blocks"
  %T = func.call @rotations(%R, %b, %eps, %terms, %coft) : (tensor<?x?xf64>, index, f64, index, index) -> tensor<?x?x?xf64>
  %k = adapter.blocks %T of %blocks : tensor<?x?x?xf64>
  %turned = adapter.adjoint %k
  %u = adapter.right %turned
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}

// Of an embedding the entries' vectors are rotated.
adapter.form @oft.embedding for [embedding]
    roles(%R "R" : "blocks | 1, p")
    scalars(%eps "eps" = 6.0e-05)
    attributes(%terms "terms" = 5, %coft "coft" = 0)
    where("b = (1 + isqrt(1 + 8 * p)) div 2", "blocks = out / b")
    requires("p == b * (b - 1) / 2") {
  %b = adapter.symbol "b"
  %blocks = adapter.symbol "blocks"
  %T = func.call @rotations(%R, %b, %eps, %terms, %coft) : (tensor<?x?xf64>, index, f64, index, index) -> tensor<?x?x?xf64>
  %k = adapter.blocks %T of %blocks : tensor<?x?x?xf64>
  %turned = adapter.adjoint %k
  %u = adapter.left %turned
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
