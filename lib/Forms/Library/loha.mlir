// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LoHa (arXiv 2108.06098, LyCORIS): the elementwise product of two low-rank products, W' = W + s (w1a w1b) * (w2a w2b),
// which is itself of low rank: that of r^2 rows w1b[i] * w2b[j] and columns w1a[:, i] * w2a[:, j]. PEFT: loha.
adapter.form @loha for [linear, convolution]
    roles(%w1a "w1_a" : "out, r", %w1b "w1_b" : "r, cols; r, (cols)",
          %w2a "w2_a" : "out, r", %w2b "w2_b" : "r, cols; r, (cols)")
    scalars(%s "scale" = 1.0) {
  %out = adapter.symbol "out"
  %cols = adapter.symbol "cols"
  %r = adapter.symbol "r"
  %rr = arith.muli %r, %r : index
  %up = tensor.generate %out, %rr {
  ^bb0(%o: index, %k: index):
    %i = arith.divui %k, %r : index
    %j = arith.remui %k, %r : index
    %x = tensor.extract %w1a[%o, %i] : tensor<?x?xf64>
    %y = tensor.extract %w2a[%o, %j] : tensor<?x?xf64>
    %p = arith.mulf %x, %y : f64
    tensor.yield %p : f64
  } : tensor<?x?xf64>
  %down = tensor.generate %rr, %cols {
  ^bb0(%k: index, %c: index):
    %i = arith.divui %k, %r : index
    %j = arith.remui %k, %r : index
    %x = tensor.extract %w1b[%i, %c] : tensor<?x?xf64>
    %y = tensor.extract %w2b[%j, %c] : tensor<?x?xf64>
    %p = arith.mulf %x, %y : f64
    tensor.yield %p : f64
  } : tensor<?x?xf64>
  %b = adapter.matrix %up : tensor<?x?xf64>
  %a = adapter.matrix %down : tensor<?x?xf64>
  %m = adapter.chain %b, %a
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
