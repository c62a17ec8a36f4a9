// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// NOLA (Networks as Linear Combination of Low Rank Random Basis): W' = W + s (sum_j beta_j B_j) (sum_i alpha_i A_i) with random bases
// A_i and B_j.
adapter.form @nola for [linear]
    roles(%alpha "alpha" : "k", %beta "beta" : "l", %A "A" : "k, r, cols", %B "B" : "l, out, r")
    scalars(%s "scale" = 1.0) {
  %down = func.call @weighted_sum(%A, %alpha) : (tensor<?x?x?xf64>, tensor<?xf64>) -> tensor<?x?xf64>
  %up = func.call @weighted_sum(%B, %beta) : (tensor<?x?x?xf64>, tensor<?xf64>) -> tensor<?x?xf64>
  %b = adapter.matrix %up : tensor<?x?xf64>
  %a = adapter.matrix %down : tensor<?x?xf64>
  %m = adapter.chain %b, %a
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
