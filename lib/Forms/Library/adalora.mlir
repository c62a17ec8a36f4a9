// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// AdaLoRA (arXiv 2303.10512): W' = W + s B diag(E) A, whose E says how much each direction counts. PEFT: adalora; the
// scale is lora_alpha / (init_r + 1e-5).
adapter.form @adalora for [linear, convolution]
    roles(%A "A" : "r, cols; r, (cols)", %B "B" : "out, r", %E "E" : "r; r, 1")
    scalars(%s "scale" = 1.0)
    requires("groups == 1") {
  %b = adapter.matrix %B : tensor<?x?xf64>
  %e = adapter.diagonal %E : tensor<?xf64>
  %a = adapter.matrix %A : tensor<?x?xf64>
  %m = adapter.chain %b, %e, %a
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
