// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Uni-LoRA (arXiv 2506.00799): W' = W + s B A, every element of which is one of a few learned numbers, times a factor
// of its own. PEFT: unilora, with save_indices.
adapter.form @unilora for [linear]
    roles(%t "theta" : "d" shared, %ia "indices_A" : "r, cols" index, %ib "indices_B" : "out, r" index,
          %sa "scales_A" : "r, cols", %sb "scales_B" : "out, r")
    scalars(%s "scale" = 1.0) {
  %A = func.call @looked_up(%t, %ia, %sa) : (tensor<?xf64>, tensor<?x?xi64>, tensor<?x?xf64>) -> tensor<?x?xf64>
  %B = func.call @looked_up(%t, %ib, %sb) : (tensor<?xf64>, tensor<?x?xi64>, tensor<?x?xf64>) -> tensor<?x?xf64>
  %b = adapter.matrix %B : tensor<?x?xf64>
  %a = adapter.matrix %A : tensor<?x?xf64>
  %m = adapter.chain %b, %a
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
