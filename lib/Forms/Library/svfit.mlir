// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// SVFit (Fine-Tuning Using Singular Values): W' = W + s U diag(sigma - sigma0) V, the largest singular values of
// W trained between their vectors.
adapter.form @svfit for [linear]
    roles(%U "U" : "out, r", %V "V" : "r, cols", %new "sigma" : "r", %old "sigma0" : "r")
    scalars(%s "scale" = 1.0) {
  %change = arith.subf %new, %old : tensor<?xf64>
  %1 = adapter.matrix %U : tensor<?x?xf64>
  %2 = adapter.diagonal %change : tensor<?xf64>
  %3 = adapter.matrix %V : tensor<?x?xf64>
  %m = adapter.chain %1, %2, %3
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
