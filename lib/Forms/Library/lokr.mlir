// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LoKr (LyCORIS, arXiv 2309.14859): a Kronecker product, W' = W + s kron(w1, w2), either factor whole or a product of
// two. A convolution's taps are w2's. PEFT: lokr; the scale is alpha / r with r of the configuration.
adapter.form @lokr for [linear, convolution]
    roles(%w1 "w1" : "a1, b1" optional, %w1a "w1_a" : "a1, r1" optional, %w1b "w1_b" : "r1, b1" optional,
          %w2 "w2" : "a2, c2.." optional, %w2a "w2_a" : "a2, r2" optional, %w2b "w2_b" : "r2, c2.." optional)
    scalars(%s "scale" = 1.0)
    choice("w1 | w1_a, w1_b", "w2 | w2_a, w2_b")
    requires("a1 * a2 == out", "b1 * c2 == cols") {
  %first = adapter.if_given %w1 : tensor<?x?xf64> -> tensor<?x?xf64> {
    adapter.yield %w1 : tensor<?x?xf64>
  } else {
    %x = func.call @matmul(%w1a, %w1b) : (tensor<?x?xf64>, tensor<?x?xf64>) -> tensor<?x?xf64>
    adapter.yield %x : tensor<?x?xf64>
  }
  %second = adapter.if_given %w2 : tensor<?x?xf64> -> tensor<?x?xf64> {
    adapter.yield %w2 : tensor<?x?xf64>
  } else {
    %x = func.call @matmul(%w2a, %w2b) : (tensor<?x?xf64>, tensor<?x?xf64>) -> tensor<?x?xf64>
    adapter.yield %x : tensor<?x?xf64>
  }
  %a1 = adapter.symbol "a1"
  %b1 = adapter.symbol "b1"
  %a2 = adapter.symbol "a2"
  %c2 = adapter.symbol "c2"
  %one = arith.constant 1 : index
  // x as [b1, c2]: each of its rows through w2, then each column through w1.
  %K1 = tensor.expand_shape %first [[0, 1], [2]] output_shape [%one, %a1, %b1] : tensor<?x?xf64> into tensor<?x?x?xf64>
  %K2 = tensor.expand_shape %second [[0, 1], [2]] output_shape [%one, %a2, %c2] : tensor<?x?xf64> into tensor<?x?x?xf64>
  %rows = adapter.blocks %K2 of %b1 : tensor<?x?x?xf64>
  %turn = adapter.shuffle %b1, %a2 by [1, 0]
  %columns = adapter.blocks %K1 of %a2 : tensor<?x?x?xf64>
  %back = adapter.shuffle %a2, %a1 by [1, 0]
  %m = adapter.chain %back, %columns, %turn, %rows
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
