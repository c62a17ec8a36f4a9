// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// TinyLoRA (arXiv 2602.04118): W' = W + s B (sum_k v_k P_k) A with A and B of the base's singular vectors, the P_k
// random, and a handful of numbers v learned, which modules share. PEFT: tinylora.
adapter.form @tinylora for [linear]
    roles(%A "A" : "r, cols", %B "B" : "out, r", %P "P" : "u, r, r", %v "v" : "u")
    scalars(%s "scale" = 1.0) {
  %R = func.call @weighted_sum(%P, %v) : (tensor<?x?x?xf64>, tensor<?xf64>) -> tensor<?x?xf64>
  %1 = adapter.matrix %B : tensor<?x?xf64>
  %2 = adapter.matrix %R : tensor<?x?xf64>
  %3 = adapter.matrix %A : tensor<?x?xf64>
  %m = adapter.chain %1, %2, %3
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
// Of the table as it is stored, [entries, width].
adapter.form @tinylora.embedding for [embedding]
    roles(%A "A" : "r, out", %B "B" : "cols, r", %P "P" : "u, r, r", %v "v" : "u")
    scalars(%s "scale" = 1.0) {
  %R = func.call @weighted_sum(%P, %v) : (tensor<?x?x?xf64>, tensor<?xf64>) -> tensor<?x?xf64>
  %At = func.call @transposed(%A) : (tensor<?x?xf64>) -> tensor<?x?xf64>
  %Rt = func.call @transposed(%R) : (tensor<?x?xf64>) -> tensor<?x?xf64>
  %Bt = func.call @transposed(%B) : (tensor<?x?xf64>) -> tensor<?x?xf64>
  %1 = adapter.matrix %At : tensor<?x?xf64>
  %2 = adapter.matrix %Rt : tensor<?x?xf64>
  %3 = adapter.matrix %Bt : tensor<?x?xf64>
  %m = adapter.chain %1, %2, %3
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
