// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Hydra (Multi-head Low-rank Adaptation for Parameter Efficient Fine-tuning): W' = (I + s Bs As) W + s Bp Ap, a branch behind the layer and one
// beside it; b' = (I + s Bs As) b + s shift, where the shift is what the branches' own biases make of it.
adapter.form @hydra for [linear]
    roles(%As "A_s" : "r, out", %Bs "B_s" : "out, r", %Ap "A_p" : "q, cols", %Bp "B_p" : "out, q", %t "shift" : "out")
    scalars(%s "scale" = 1.0) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f64
  %r = adapter.symbol "r"
  %out = adapter.symbol "out"
  %behind = func.call @scaled(%Bs, %s) : (tensor<?x?xf64>, f64) -> tensor<?x?xf64>
  %1 = adapter.matrix %behind : tensor<?x?xf64>
  %2 = adapter.matrix %As : tensor<?x?xf64>
  %branch = adapter.chain %1, %2
  %same = adapter.identity
  %m = adapter.plus %same, %branch
  %u = adapter.left %m
  %3 = adapter.matrix %Bp : tensor<?x?xf64>
  %4 = adapter.matrix %Ap : tensor<?x?xf64>
  %p = adapter.chain %3, %4
  %v = adapter.add %p scale %s
  %w = adapter.compose %u, %v : !adapter.update<tensor<?x?xf64>>
  %b = adapter.bias : tensor<?xf64>
  %inner = func.call @row_sums(%As, %b) : (tensor<?x?xf64>, tensor<?xf64>) -> tensor<?xf64>
  %outer = func.call @row_sums(%behind, %inner) : (tensor<?x?xf64>, tensor<?xf64>) -> tensor<?xf64>
  %scales = tensor.splat %s[%out] : tensor<?xf64>
  %shift = arith.mulf %t, %scales : tensor<?xf64>
  %b1 = arith.addf %b, %outer : tensor<?xf64>
  %new = arith.addf %b1, %shift : tensor<?xf64>
  adapter.yield %w, %new : !adapter.update<tensor<?x?xf64>>, tensor<?xf64>
}
