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
