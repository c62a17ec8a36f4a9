// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// QWHA (Quantization-Aware Walsh-Hadamard Adaptation): W' = W + s F H / (in sqrt(out)), F with few coefficients, H the
// Walsh-Hadamard matrix of the inputs in natural order: H[i, j] is -1 to the number of bits that i and j have in common.
adapter.form @qwha for [linear]
    roles(%c "spectrum" : "n", %i "indices" : "2, n" index)
    scalars(%s "scale" = 1.0)
    where("levels = ilog2(cols)") requires("pow(2, levels) == cols") {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f64
  %one = arith.constant 1.0 : f64
  %n = adapter.symbol "n"
  %out = adapter.symbol "out"
  %cols = adapter.symbol "cols"
  %levels = adapter.symbol "levels"
  %out64 = arith.index_cast %out : index to i64
  %outs = arith.sitofp %out64 : i64 to f64
  %root = math.sqrt %outs : f64
  %cols64 = arith.index_cast %cols : index to i64
  %inputs = arith.sitofp %cols64 : i64 to f64
  %size = arith.mulf %root, %inputs : f64
  %factor = arith.divf %one, %size : f64
  %empty = tensor.splat %zero[%out, %cols] : tensor<?x?xf64>
  %f = scf.for %k = %c0 to %n step %c1 iter_args(%t = %empty) -> tensor<?x?xf64> {
    %row64 = tensor.extract %i[%c0, %k] : tensor<?x?xi64>
    %column64 = tensor.extract %i[%c1, %k] : tensor<?x?xi64>
    %row = arith.index_cast %row64 : i64 to index
    %column = arith.index_cast %column64 : i64 to index
    %x = tensor.extract %c[%k] : tensor<?xf64>
    %y = arith.mulf %x, %factor : f64
    %before = tensor.extract %t[%row, %column] : tensor<?x?xf64>
    %z = arith.addf %before, %y : f64
    %t1 = tensor.insert %z into %t[%row, %column] : tensor<?x?xf64>
    scf.yield %t1 : tensor<?x?xf64>
  }
  // One bit of the column's number after the other: the sum where it is 0, the difference where it is 1.
  %d = scf.for %level = %c0 to %levels step %c1 iter_args(%t = %f) -> tensor<?x?xf64> {
    %bit = arith.shli %c1, %level : index
    %t1 = tensor.generate %out, %cols {
    ^bb0(%o: index, %j: index):
      %masked = arith.andi %j, %bit : index
      %isLow = arith.cmpi eq, %masked, %c0 : index
      %low = arith.subi %j, %masked : index
      %high = arith.addi %low, %bit : index
      %x = tensor.extract %t[%o, %low] : tensor<?x?xf64>
      %y = tensor.extract %t[%o, %high] : tensor<?x?xf64>
      %sum = arith.addf %x, %y : f64
      %difference = arith.subf %x, %y : f64
      %e = arith.select %isLow, %sum, %difference : f64
      tensor.yield %e : f64
    } : tensor<?x?xf64>
    scf.yield %t1 : tensor<?x?xf64>
  }
  %m = adapter.matrix %d : tensor<?x?xf64>
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
