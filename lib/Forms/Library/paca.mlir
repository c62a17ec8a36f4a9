// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// PaCA (Partial Connection Adaptation for Efficient Fine-Tuning): some columns of W are trained ones, times alpha / r.
adapter.form @paca for [linear]
    roles(%i "indices" : "r" index of "in", %w "columns" : "out, r")
    scalars(%s "scale" = 1.0) {
  %v = func.call @scaled(%w, %s) : (tensor<?x?xf64>, f64) -> tensor<?x?xf64>
  %u = adapter.sparse overwrite columns %i, %v : tensor<?xi64>, tensor<?x?xf64> -> !adapter.update<tensor<?x?xf64>>
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
