// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LoRA (arXiv 2106.09685) and DoRA (arXiv 2402.09353): W' = W + s B A, and with a magnitude each output's weights
// brought to its length. PEFT: lora; the scale is lora_alpha / r or what rslora makes of it.
adapter.form @lora for [linear, convolution, embedding]
    roles(%A "A" : "r, cols; r, (cols)", %B "B" : "out, r, 1..",
          %m "magnitude" : "out; 1, out, 1.." optional "dora")
    scalars(%s "scale" = 1.0)
    sliceable("r") {
  %b = adapter.matrix %B : tensor<?x?xf64>
  %a = adapter.matrix %A : tensor<?x?xf64>
  %p = adapter.chain %b, %a
  %u = adapter.add %p scale %s
  %w = adapter.if_given %m : tensor<?xf64> -> !adapter.update<tensor<?x?xf64>> {
    %v = adapter.magnitude %u, %m axis 0 : !adapter.update<tensor<?x?xf64>>, tensor<?xf64>
    adapter.yield %v : !adapter.update<tensor<?x?xf64>>
  } else {
    adapter.yield %u : !adapter.update<tensor<?x?xf64>>
  }
  adapter.yield %w : !adapter.update<tensor<?x?xf64>>
}
