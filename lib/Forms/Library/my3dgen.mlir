// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// My3DGen (Building Lightweight Personalized 3D Generative Model): the product of B [out k, r] and A [r, in k] as a convolution's
// weight: its rows are outputs and the first axis of taps, its columns inputs and the second.
adapter.form @my3dgen for [convolution]
    roles(%A "A" : "r, m", %B "B" : "n, r")
    scalars(%s "scale" = 1.0)
    where("k = m div in", "taps = cols / in")
    requires("groups == 1", "k * in == m", "k * out == n", "k * k == taps") {
  %out = adapter.symbol "out"
  %cols = adapter.symbol "cols"
  %k = adapter.symbol "k"
  %taps = adapter.symbol "taps"
  %p = func.call @matmul(%B, %A) : (tensor<?x?xf64>, tensor<?x?xf64>) -> tensor<?x?xf64>
  %d = tensor.generate %out, %cols {
  ^bb0(%o: index, %c: index):
    %i = arith.divui %c, %taps : index
    %tap = arith.remui %c, %taps : index
    %y = arith.divui %tap, %k : index
    %x = arith.remui %tap, %k : index
    %row0 = arith.muli %o, %k : index
    %row = arith.addi %row0, %y : index
    %column0 = arith.muli %i, %k : index
    %column = arith.addi %column0, %x : index
    %e = tensor.extract %p[%row, %column] : tensor<?x?xf64>
    tensor.yield %e : f64
  } : tensor<?x?xf64>
  %m = adapter.matrix %d : tensor<?x?xf64>
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
