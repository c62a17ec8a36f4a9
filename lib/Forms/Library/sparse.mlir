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

// The same by places in the flattened weight [out, in] (SuperTuning, arXiv 2607.09287, PEFT: supertuning), in any order.
adapter.form @sparse_flat for [linear]
    roles(%i "indices" : "n" index, %v "values" : "n")
    scalars(%s "scale" = 1.0) {
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %n = adapter.symbol "n"
  %out = adapter.symbol "out"
  %cols = adapter.symbol "cols"
  %places = tensor.generate %c2, %n {
  ^bb0(%axis: index, %k: index):
    %flat = tensor.extract %i[%k] : tensor<?xi64>
    %at = arith.index_cast %flat : i64 to index
    %row = arith.divsi %at, %cols : index
    %column = arith.remsi %at, %cols : index
    %isRow = arith.cmpi eq, %axis, %c0 : index
    %x = arith.select %isRow, %row, %column : index
    %y = arith.index_cast %x : index to i64
    tensor.yield %y : i64
  } : tensor<?x?xi64>
  %m = adapter.gather %places, %v of %out, %cols : tensor<?x?xi64>, tensor<?xf64>
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
