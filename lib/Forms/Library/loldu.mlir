// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LoLDU (Low-Rank Adaptation via Lower-Diag-Upper Decomposition): W' = W + P L diag(s z - s0 z0) U, of the factors of W = P L D U the
// leading ones with another diagonal; row i of the result is row permutation[i] of the product.
adapter.form @loldu for [linear]
    roles(%p "permutation" : "out" index, %L "L" : "out, r", %U "U" : "r, cols", %z "z" : "r", %z0 "z0" : "r")
    scalars(%s "scale" = 1.0, %s0 "scale0" = 1.0) {
  %r = adapter.symbol "r"
  %f = tensor.splat %s[%r] : tensor<?xf64>
  %f0 = tensor.splat %s0[%r] : tensor<?xf64>
  %a = arith.mulf %z, %f : tensor<?xf64>
  %b = arith.mulf %z0, %f0 : tensor<?xf64>
  %change = arith.subf %a, %b : tensor<?xf64>
  %0 = adapter.permute %p : tensor<?xi64>
  %1 = adapter.matrix %L : tensor<?x?xf64>
  %2 = adapter.diagonal %change : tensor<?xf64>
  %3 = adapter.matrix %U : tensor<?x?xf64>
  %m = adapter.chain %0, %1, %2, %3
  %u = adapter.add %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
