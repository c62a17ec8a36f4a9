// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// DeLoRA (arXiv 2503.18225): W' = W + B diag(lambda / (r |a_i| |b_i|)) A diag(w), each direction brought to one length, w
// the lengths of the base's columns in training. PEFT: delora.
adapter.form @delora for [linear]
    roles(%A "A" : "r, cols", %B "B" : "out, r", %l "lambda" : "1", %w "w_norm" : "cols")
    scalars(%s "scale" = 1.0) {
  %c0 = arith.constant 0 : index
  %least = arith.constant 1.0e-04 : f64
  %r = adapter.symbol "r"
  %r64 = arith.index_cast %r : index to i64
  %count = arith.sitofp %r64 : i64 to f64
  %lambda = tensor.extract %l[%c0] : tensor<?xf64>
  %each = arith.divf %lambda, %count : f64
  %At = func.call @transposed(%A) : (tensor<?x?xf64>) -> tensor<?x?xf64>
  %la = func.call @column_lengths(%At) : (tensor<?x?xf64>) -> tensor<?xf64>
  %lb = func.call @column_lengths(%B) : (tensor<?x?xf64>) -> tensor<?xf64>
  %f = tensor.generate %r {
  ^bb0(%i: index):
    %x = tensor.extract %la[%i] : tensor<?xf64>
    %y = tensor.extract %lb[%i] : tensor<?xf64>
    %x1 = arith.maximumf %x, %least : f64
    %y1 = arith.maximumf %y, %least : f64
    %p = arith.mulf %x1, %y1 : f64
    %q = arith.divf %each, %p : f64
    tensor.yield %q : f64
  } : tensor<?xf64>
  %1 = adapter.matrix %B : tensor<?x?xf64>
  %2 = adapter.diagonal %f : tensor<?xf64>
  %3 = adapter.matrix %A : tensor<?x?xf64>
  %4 = adapter.diagonal %w : tensor<?xf64>
  %m = adapter.chain %1, %2, %3, %4
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
