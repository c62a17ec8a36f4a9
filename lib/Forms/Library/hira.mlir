// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// HiRA (ICLR 2025, openreview TwJrTz9cRS): W' = W + s W * (B A), element by element. PEFT: hira.
adapter.form @hira for [linear, convolution, embedding]
    roles(%A "A" : "r, cols; r, (cols)", %B "B" : "out, r, 1..")
    scalars(%s "scale" = 1.0)
    requires("groups == 1") {
  %w = adapter.weight : tensor<?x?xf64>
  %p = func.call @matmul(%B, %A) : (tensor<?x?xf64>, tensor<?x?xf64>) -> tensor<?x?xf64>
  %d = arith.mulf %w, %p : tensor<?x?xf64>
  %m = adapter.matrix %d : tensor<?x?xf64>
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
