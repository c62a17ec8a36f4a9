// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// DSEE (Dually Sparsity-embedded Efficient Tuning): W' = mask W + s (U V + S), the weight pruned, beside a thin product
// and few elements.
adapter.form @dsee for [linear]
    roles(%mask "mask" : "out, cols", %U "U" : "out, r", %V "V" : "r, cols", %i "indices" : "2, n" index, %v "values" : "n")
    scalars(%s "scale" = 1.0) {
  %out = adapter.symbol "out"
  %cols = adapter.symbol "cols"
  %w = adapter.weight : tensor<?x?xf64>
  %kept = arith.mulf %w, %mask : tensor<?x?xf64>
  %less = arith.subf %kept, %w : tensor<?x?xf64>
  %pruned = adapter.matrix %less : tensor<?x?xf64>
  %u = adapter.add %pruned
  %1 = adapter.matrix %U : tensor<?x?xf64>
  %2 = adapter.matrix %V : tensor<?x?xf64>
  %product = adapter.chain %1, %2
  %few = adapter.gather %i, %v of %out, %cols : tensor<?x?xi64>, tensor<?xf64>
  %m = adapter.plus %product, %few
  %a = adapter.add %m scale %s
  %both = adapter.compose %u, %a : !adapter.update<tensor<?x?xf64>>
  adapter.yield %both : !adapter.update<tensor<?x?xf64>>
}
