// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Whole parameters: another in its place (modules_to_save, trained biases, layer norms), or a difference added.
adapter.form @replace for [linear, convolution, embedding, vector]
    roles(%v "value" : "weight") {
  %u = adapter.replace %v : tensor<?x?xf64> -> !adapter.update<tensor<?x?xf64>>
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}

adapter.form @add for [linear, convolution, embedding, vector]
    roles(%v "value" : "weight")
    scalars(%s "scale" = 1.0) {
  %m = adapter.matrix %v : tensor<?x?xf64>
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}

// Rows of a table in the place of its own: trained tokens. Of an output head the rows are its outputs'.
adapter.form @rows for [embedding]
    roles(%i "indices" : "n" index of "vocab", %r "rows" : "n, dim") {
  %columns = func.call @transposed(%r) : (tensor<?x?xf64>) -> tensor<?x?xf64>
  %u = adapter.sparse overwrite columns %i, %columns : tensor<?xi64>, tensor<?x?xf64> -> !adapter.update<tensor<?x?xf64>>
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
adapter.form @rows.linear for [linear]
    roles(%i "indices" : "n" index of "out", %r "rows" : "n, in") {
  %u = adapter.sparse overwrite rows %i, %r : tensor<?xi64>, tensor<?x?xf64> -> !adapter.update<tensor<?x?xf64>>
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
