// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// MoS, mixture of shards (Unleashing Parameter Efficiency of Low-Rank Adaptation): W' = W + s B' A whose rows are put together of
// rows of two pools that all modules share, by indices.
adapter.form @mos for [linear]
    roles(%pa "pool_A" : "na, wa" shared, %pb "pool_B" : "nb, wb" shared,
          %ia "indices_A" : "r, ka" index, %ib "indices_B" : "r, kb" index)
    scalars(%s "scale" = 1.0)
    requires("ka * wa == cols", "kb * wb == out") {
  %A = func.call @pieces(%pa, %ia) : (tensor<?x?xf64>, tensor<?x?xi64>) -> tensor<?x?xf64>
  %Bt = func.call @pieces(%pb, %ib) : (tensor<?x?xf64>, tensor<?x?xi64>) -> tensor<?x?xf64>
  %B = func.call @transposed(%Bt) : (tensor<?x?xf64>) -> tensor<?x?xf64>
  %b = adapter.matrix %B : tensor<?x?xf64>
  %a = adapter.matrix %A : tensor<?x?xf64>
  %m = adapter.chain %b, %a
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
