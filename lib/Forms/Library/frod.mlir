// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// FRoD (PEFT 0.21): W' = U (diag(l) + S) V' with V the same for all modules of a kind, U the columns of W V'^-1
// brought to length 1, S sparse. PEFT: frod, with save_projection.
adapter.form @frod for [linear]
    roles(%V "V" : "cols, cols", %l "lambda_l" : "cols", %i "indices" : "2, n" index, %v "lambda_s" : "n") {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f64
  %one = arith.constant 1.0 : f64
  %least = arith.constant 1.0e-12 : f64
  %out = adapter.symbol "out"
  %cols = adapter.symbol "cols"
  %n = adapter.symbol "n"
  %w = adapter.weight : tensor<?x?xf64>
  %wt = func.call @transposed(%w) : (tensor<?x?xf64>) -> tensor<?x?xf64>
  %V1 = tensor.expand_shape %V [[0, 1], [2]] output_shape [1, %cols, %cols] : tensor<?x?xf64> into tensor<1x?x?xf64>
  %W1 = tensor.expand_shape %wt [[0, 1], [2]] output_shape [1, %cols, %out] : tensor<?x?xf64> into tensor<1x?x?xf64>
  %V2 = tensor.cast %V1 : tensor<1x?x?xf64> to tensor<?x?x?xf64>
  %W2 = tensor.cast %W1 : tensor<1x?x?xf64> to tensor<?x?x?xf64>
  %Z1 = func.call @batch_solve(%V2, %W2) : (tensor<?x?x?xf64>, tensor<?x?x?xf64>) -> tensor<?x?x?xf64>
  %Zt = tensor.collapse_shape %Z1 [[0, 1], [2]] : tensor<?x?x?xf64> into tensor<?x?xf64>
  %Z = func.call @transposed(%Zt) : (tensor<?x?xf64>) -> tensor<?x?xf64>
  %lengths = func.call @column_lengths(%Z) : (tensor<?x?xf64>) -> tensor<?xf64>
  %U = tensor.generate %out, %cols {
  ^bb0(%o: index, %c: index):
    %x = tensor.extract %Z[%o, %c] : tensor<?x?xf64>
    %length = tensor.extract %lengths[%c] : tensor<?xf64>
    %q = arith.divf %x, %length : f64
    %there = arith.cmpf ogt, %length, %least : f64
    %y = arith.select %there, %q, %zero : f64
    tensor.yield %y : f64
  } : tensor<?x?xf64>
  // U (diag(l) + S): S adds multiples of columns to columns.
  %scaled = tensor.generate %out, %cols {
  ^bb0(%o: index, %c: index):
    %x = tensor.extract %U[%o, %c] : tensor<?x?xf64>
    %f = tensor.extract %l[%c] : tensor<?xf64>
    %y = arith.mulf %x, %f : f64
    tensor.yield %y : f64
  } : tensor<?x?xf64>
  %US = scf.for %k = %c0 to %n step %c1 iter_args(%t = %scaled) -> tensor<?x?xf64> {
    %from64 = tensor.extract %i[%c0, %k] : tensor<?x?xi64>
    %to64 = tensor.extract %i[%c1, %k] : tensor<?x?xi64>
    %from = arith.index_cast %from64 : i64 to index
    %to = arith.index_cast %to64 : i64 to index
    %f = tensor.extract %v[%k] : tensor<?xf64>
    %t1 = scf.for %o = %c0 to %out step %c1 iter_args(%a = %t) -> tensor<?x?xf64> {
      %x = tensor.extract %U[%o, %from] : tensor<?x?xf64>
      %y = tensor.extract %a[%o, %to] : tensor<?x?xf64>
      %p = arith.mulf %x, %f : f64
      %s = arith.addf %y, %p : f64
      %a1 = tensor.insert %s into %a[%o, %to] : tensor<?x?xf64>
      scf.yield %a1 : tensor<?x?xf64>
    }
    scf.yield %t1 : tensor<?x?xf64>
  }
  %Vt = func.call @transposed(%V) : (tensor<?x?xf64>) -> tensor<?x?xf64>
  %new = func.call @matmul(%US, %Vt) : (tensor<?x?xf64>, tensor<?x?xf64>) -> tensor<?x?xf64>
  %d = arith.subf %new, %w : tensor<?x?xf64>
  %m = adapter.matrix %d : tensor<?x?xf64>
  %u = adapter.add %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
