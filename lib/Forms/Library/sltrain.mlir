// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// SLTrain (a sparse plus low-rank approach for pretraining): a weight of its own, s B A + S with few elements in S; the base's
// is not used.
adapter.form @sltrain for [linear]
    roles(%A "A" : "r, cols", %B "B" : "out, r", %i "indices" : "n" index, %v "values" : "n")
    scalars(%s "scale" = 1.0) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = adapter.symbol "n"
  %cols = adapter.symbol "cols"
  %p = func.call @matmul(%B, %A) : (tensor<?x?xf64>, tensor<?x?xf64>) -> tensor<?x?xf64>
  %scaled = func.call @scaled(%p, %s) : (tensor<?x?xf64>, f64) -> tensor<?x?xf64>
  %w = scf.for %k = %c0 to %n step %c1 iter_args(%t = %scaled) -> tensor<?x?xf64> {
    %flat64 = tensor.extract %i[%k] : tensor<?xi64>
    %flat = arith.index_cast %flat64 : i64 to index
    %row = arith.divsi %flat, %cols : index
    %column = arith.remsi %flat, %cols : index
    %x = tensor.extract %t[%row, %column] : tensor<?x?xf64>
    %y = tensor.extract %v[%k] : tensor<?xf64>
    %z = arith.addf %x, %y : f64
    %t1 = tensor.insert %z into %t[%row, %column] : tensor<?x?xf64>
    scf.yield %t1 : tensor<?x?xf64>
  }
  %u = adapter.replace %w : tensor<?x?xf64> -> !adapter.update<tensor<?x?xf64>>
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
