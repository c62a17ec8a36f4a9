// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// CorDA (arXiv 2406.05223): the factors were trained beside what was left of the weight, W - s B0 A0, where B0 and A0 are
// what they began with: W' = W + s (B A - B0 A0). NLoRA too, where the base is such a rest.
adapter.form @corda for [linear]
    roles(%A "A" : "r, cols", %B "B" : "out, r", %A0 "A0" : "q, cols", %B0 "B0" : "out, q")
    scalars(%s "scale" = 1.0) {
  %minus = arith.constant -1.0 : f64
  %C0 = func.call @scaled(%B0, %minus) : (tensor<?x?xf64>, f64) -> tensor<?x?xf64>
  %b = adapter.matrix %B : tensor<?x?xf64>
  %a = adapter.matrix %A : tensor<?x?xf64>
  %m = adapter.chain %b, %a
  %b0 = adapter.matrix %C0 : tensor<?x?xf64>
  %a0 = adapter.matrix %A0 : tensor<?x?xf64>
  %n = adapter.chain %b0, %a0
  %p = adapter.plus %m, %n
  %u = adapter.add %p scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
