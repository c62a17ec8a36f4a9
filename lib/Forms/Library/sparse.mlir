// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Few elements of a parameter: values added (SHiRA, arXiv 2406.13175, PEFT: shira) or put in their place.
adapter.form @sparse for [linear, embedding, vector]
    roles(%i "indices" : "coordinates", %v "values" : "n")
    scalars(%s "scale" = 1.0) {
  %out = adapter.symbol "out"
  %cols = adapter.symbol "cols"
  %m = adapter.gather %i, %v of %out, %cols : tensor<?x?xi64>, tensor<?xf64>
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}

adapter.form @overwrite for [linear, embedding, vector]
    roles(%i "indices" : "coordinates", %v "values" : "n")
    scalars(%s "scale" = 1.0) {
  %w = adapter.sparse overwrite coordinates %i, %v : tensor<?x?xi64>, tensor<?xf64> -> !adapter.update<tensor<?x?xf64>>
  %u = adapter.scale %w, %s : !adapter.update<tensor<?x?xf64>>
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
