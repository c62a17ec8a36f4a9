// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// IA3 (arXiv 2205.05638): learned factors of the outputs, W' = diag(l) W and b' = l b. PEFT: ia3.
adapter.form @ia3 for [linear, convolution]
    roles(%l "l" : "out; out, 1; 1, out, 1..") {
  %d = adapter.diagonal %l : tensor<?xf64>
  %u = adapter.left %d
  %b = adapter.bias : tensor<?xf64>
  %new = arith.mulf %l, %b : tensor<?xf64>
  adapter.yield %u, %new : !adapter.update<tensor<?x?xf64>>, tensor<?xf64>
}

// The same of the inputs, as PEFT has it in feedforward_modules: W' = W diag(l). A convolution's factors are its input
// channels'.
adapter.form @ia3_input for [linear, convolution]
    roles(%l "l" : "in; 1, in, 1..")
    where("taps = cols / in")
    requires("groups == 1") {
  %cols = adapter.symbol "cols"
  %taps = adapter.symbol "taps"
  %all = tensor.generate %cols {
  ^bb0(%i: index):
    %channel = arith.divui %i, %taps : index
    %f = tensor.extract %l[%channel] : tensor<?xf64>
    tensor.yield %f : f64
  } : tensor<?xf64>
  %d = adapter.diagonal %all : tensor<?xf64>
  %u = adapter.right %d
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
