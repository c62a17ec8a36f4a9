// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// SSF (Scaling & Shifting Your Features): a layer's outputs are scaled and shifted, W' = diag(gamma) W and
// b' = gamma b + beta.
adapter.form @ssf for [linear, convolution]
    roles(%g "gamma" : "out", %t "beta" : "out") {
  %d = adapter.diagonal %g : tensor<?xf64>
  %u = adapter.left %d
  %b = adapter.bias : tensor<?xf64>
  %gb = arith.mulf %g, %b : tensor<?xf64>
  %new = arith.addf %gb, %t : tensor<?xf64>
  adapter.yield %u, %new : !adapter.update<tensor<?x?xf64>>, tensor<?xf64>
}

// The same behind a norm: of its weight, and with the shift of its bias.
adapter.form @scale_shift for [vector]
    roles(%g "gamma" : "out", %t "beta" : "out" optional) {
  %c1 = arith.constant 1 : index
  %out = adapter.symbol "out"
  %m = adapter.diagonal %g : tensor<?xf64>
  %u = adapter.left %m
  %w = adapter.if_given %t : tensor<?xf64> -> !adapter.update<tensor<?x?xf64>> {
    %column = tensor.generate %out, %c1 {
    ^bb0(%i: index, %j: index):
      %x = tensor.extract %t[%i] : tensor<?xf64>
      tensor.yield %x : f64
    } : tensor<?x?xf64>
    %s = adapter.matrix %column : tensor<?x?xf64>
    %v = adapter.add %s
    %both = adapter.compose %u, %v : !adapter.update<tensor<?x?xf64>>
    adapter.yield %both : !adapter.update<tensor<?x?xf64>>
  } else {
    adapter.yield %u : !adapter.update<tensor<?x?xf64>>
  }
  adapter.yield %w : !adapter.update<tensor<?x?xf64>>
}
