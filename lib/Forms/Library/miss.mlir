// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// MiSS (arXiv 2409.15371, Bone): W' = W + s D, of which every r inputs have the same block D of r rows, here M'; with
// `mini` M holds the first outputs alone and repeats along them. PEFT: miss, bone.
adapter.form @miss for [linear]
    roles(%M "block" : "r, n")
    scalars(%s "scale" = 1.0)
    requires("out mod n == 0") {
  %out = adapter.symbol "out"
  %cols = adapter.symbol "cols"
  %r = adapter.symbol "r"
  %n = adapter.symbol "n"
  %zero = arith.constant 0.0 : f64
  %one = arith.constant 1.0 : f64
  %up = tensor.generate %out, %r {
  ^bb0(%o: index, %i: index):
    %c = arith.remui %o, %n : index
    %x = tensor.extract %M[%i, %c] : tensor<?x?xf64>
    tensor.yield %x : f64
  } : tensor<?x?xf64>
  %fold = tensor.generate %r, %cols {
  ^bb0(%i: index, %c: index):
    %k = arith.remui %c, %r : index
    %same = arith.cmpi eq, %i, %k : index
    %x = arith.select %same, %one, %zero : f64
    tensor.yield %x : f64
  } : tensor<?x?xf64>
  %b = adapter.matrix %up : tensor<?x?xf64>
  %a = adapter.matrix %fold : tensor<?x?xf64>
  %m = adapter.chain %b, %a
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}

// With init_weights = "bat": of each r x r block of W by its row of blocks, W_IJ' = W_IJ + s (W_IJ M_I + M_I).
adapter.form @miss_bat for [linear]
    roles(%M "block" : "tall, r, r")
    scalars(%s "scale" = 1.0)
    requires("tall * r == out", "cols mod r == 0") {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %out = adapter.symbol "out"
  %cols = adapter.symbol "cols"
  %r = adapter.symbol "r"
  %w = adapter.weight : tensor<?x?xf64>
  %d = tensor.generate %out, %cols {
  ^bb0(%o: index, %i: index):
    %I = arith.divui %o, %r : index
    %row = arith.remui %o, %r : index
    %column = arith.remui %i, %r : index
    %start = arith.subi %i, %column : index
    %own = tensor.extract %M[%I, %row, %column] : tensor<?x?x?xf64>
    %sum = scf.for %t = %c0 to %r step %c1 iter_args(%acc = %own) -> f64 {
      %at = arith.addi %start, %t : index
      %x = tensor.extract %w[%o, %at] : tensor<?x?xf64>
      %y = tensor.extract %M[%I, %t, %column] : tensor<?x?x?xf64>
      %p = arith.mulf %x, %y : f64
      %next = arith.addf %acc, %p : f64
      scf.yield %next : f64
    }
    tensor.yield %sum : f64
  } : tensor<?x?xf64>
  %m = adapter.matrix %d : tensor<?x?xf64>
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
