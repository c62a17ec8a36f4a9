// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// S2FT (LLM Fine-tuning by Structured Sparsity): W' = W + s V in some of its rows, or of its columns.
adapter.form @s2ft_rows for [linear]
    roles(%i "indices" : "n" index of "out", %v "rows" : "n, in")
    scalars(%s "scale" = 1.0) {
  %out = adapter.symbol "out"
  %E = func.call @selection(%i, %out) : (tensor<?xi64>, index) -> tensor<?x?xf64>
  %b = adapter.matrix %E : tensor<?x?xf64>
  %a = adapter.matrix %v : tensor<?x?xf64>
  %m = adapter.chain %b, %a
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
adapter.form @s2ft_columns for [linear]
    roles(%i "indices" : "n" index of "in", %v "columns" : "out, n")
    scalars(%s "scale" = 1.0) {
  %cols = adapter.symbol "cols"
  %E = func.call @selection(%i, %cols) : (tensor<?xi64>, index) -> tensor<?x?xf64>
  %Et = func.call @transposed(%E) : (tensor<?x?xf64>) -> tensor<?x?xf64>
  %b = adapter.matrix %v : tensor<?x?xf64>
  %a = adapter.matrix %Et : tensor<?x?xf64>
  %m = adapter.chain %b, %a
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
