// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// C3A (arXiv 2407.19342): W' = W + s C / in, blocks of which each is circulant: element (k, j) is w[(j - k) mod b].
// PEFT: c3a.
adapter.form @c3a for [linear]
    roles(%w "kernel" : "tall, wide, b")
    scalars(%s "scale" = 1.0)
    requires("tall * b == out", "wide * b == cols") {
  %out = adapter.symbol "out"
  %cols = adapter.symbol "cols"
  %b = adapter.symbol "b"
  %n64 = arith.index_cast %cols : index to i64
  %count = arith.sitofp %n64 : i64 to f64
  %d = tensor.generate %out, %cols {
  ^bb0(%o: index, %i: index):
    %O = arith.divui %o, %b : index
    %I = arith.divui %i, %b : index
    %k = arith.remui %o, %b : index
    %ahead = arith.addi %i, %b : index
    %way = arith.subi %ahead, %k : index
    %j = arith.remui %way, %b : index
    %x = tensor.extract %w[%O, %I, %j] : tensor<?x?x?xf64>
    %q = arith.divf %x, %count : f64
    tensor.yield %q : f64
  } : tensor<?x?xf64>
  %m = adapter.matrix %d : tensor<?x?xf64>
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
