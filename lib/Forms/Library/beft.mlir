// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// BEFT (arXiv 2509.15974): b' = b + s v, the weight as it is. PEFT: beft.
adapter.form @beft for [linear]
    roles(%v "bias" : "out; 1, out")
    scalars(%s "scale" = 1.0) {
  %n = adapter.symbol "out"
  %b = adapter.bias : tensor<?xf64>
  %f = tensor.splat %s[%n] : tensor<?xf64>
  %d = arith.mulf %v, %f : tensor<?xf64>
  %new = arith.addf %b, %d : tensor<?xf64>
  %same = adapter.identity
  %u = adapter.right %same
  adapter.yield %u, %new : !adapter.update<tensor<?x?xf64>>, tensor<?xf64>
}
