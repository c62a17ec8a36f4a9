// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// GLoRA (arXiv 2306.07967): W' = W + W * A + B, element by element, and b' = b + b * d + e + W c, of the weight as it
// was. A and B are products, or a number for each output or for all; c, d and e are vectors or one number. PEFT's
// modules without a bias get none. PEFT: glora.
adapter.form @glora for [linear]
    roles(%Ad "A_d" : "out, k", %Au "A_u" : "k, cols", %Bd "B_d" : "out, l", %Bu "B_u" : "l, cols",
          %c "c" : "in | 1; in | 1, 1", %d "d" : "out | 1; out | 1, 1", %e "e" : "out | 1; out | 1, 1") {
  %out = adapter.symbol "out"
  %w = adapter.weight : tensor<?x?xf64>
  %AB = func.call @matmul(%Ad, %Au) : (tensor<?x?xf64>, tensor<?x?xf64>) -> tensor<?x?xf64>
  %BB = func.call @matmul(%Bd, %Bu) : (tensor<?x?xf64>, tensor<?x?xf64>) -> tensor<?x?xf64>
  %WA = arith.mulf %w, %AB : tensor<?x?xf64>
  %sum = arith.addf %WA, %BB : tensor<?x?xf64>
  %m = adapter.matrix %sum : tensor<?x?xf64>
  %u = adapter.add %m
  %b = adapter.bias : tensor<?xf64>
  %Wc = func.call @row_sums(%w, %c) : (tensor<?x?xf64>, tensor<?xf64>) -> tensor<?xf64>
  %new = tensor.generate %out {
  ^bb0(%o: index):
    %x = tensor.extract %b[%o] : tensor<?xf64>
    %f = func.call @element(%d, %o) : (tensor<?xf64>, index) -> f64
    %g = func.call @element(%e, %o) : (tensor<?xf64>, index) -> f64
    %h = tensor.extract %Wc[%o] : tensor<?xf64>
    %xf = arith.mulf %x, %f : f64
    %y = arith.addf %x, %xf : f64
    %z = arith.addf %y, %g : f64
    %all = arith.addf %z, %h : f64
    tensor.yield %all : f64
  } : tensor<?xf64>
  adapter.yield %u, %new : !adapter.update<tensor<?x?xf64>>, tensor<?xf64>
}

adapter.form @glora_weight for [linear]
    roles(%Ad "A_d" : "out, k", %Au "A_u" : "k, cols", %Bd "B_d" : "out, l", %Bu "B_u" : "l, cols") {
  %out = adapter.symbol "out"
  %w = adapter.weight : tensor<?x?xf64>
  %AB = func.call @matmul(%Ad, %Au) : (tensor<?x?xf64>, tensor<?x?xf64>) -> tensor<?x?xf64>
  %BB = func.call @matmul(%Bd, %Bu) : (tensor<?x?xf64>, tensor<?x?xf64>) -> tensor<?x?xf64>
  %WA = arith.mulf %w, %AB : tensor<?x?xf64>
  %sum = arith.addf %WA, %BB : tensor<?x?xf64>
  %m = adapter.matrix %sum : tensor<?x?xf64>
  %u = adapter.add %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}

adapter.form @glora_scaled for [linear]
    roles(%A "A" : "out | 1; out | 1, 1", %B "B" : "out | 1; out | 1, 1",
          %c "c" : "in | 1; in | 1, 1", %d "d" : "out | 1; out | 1, 1", %e "e" : "out | 1; out | 1, 1") {
  %out = adapter.symbol "out"
  %cols = adapter.symbol "cols"
  %one = arith.constant 1.0 : f64
  %c1 = arith.constant 1 : index
  %w = adapter.weight : tensor<?x?xf64>
  %gain = tensor.generate %out {
  ^bb0(%o: index):
    %x = func.call @element(%A, %o) : (tensor<?xf64>, index) -> f64
    %y = arith.addf %one, %x : f64
    tensor.yield %y : f64
  } : tensor<?xf64>
  %shift = tensor.generate %out, %c1 {
  ^bb0(%o: index, %i: index):
    %x = func.call @element(%B, %o) : (tensor<?xf64>, index) -> f64
    tensor.yield %x : f64
  } : tensor<?x?xf64>
  %ones = tensor.splat %one[%c1, %cols] : tensor<?x?xf64>
  %gains = adapter.diagonal %gain : tensor<?xf64>
  %scaled = adapter.left %gains
  %column = adapter.matrix %shift : tensor<?x?xf64>
  %row = adapter.matrix %ones : tensor<?x?xf64>
  %m = adapter.chain %column, %row
  %shifted = adapter.add %m
  %u = adapter.compose %scaled, %shifted : !adapter.update<tensor<?x?xf64>>
  %b = adapter.bias : tensor<?xf64>
  %Wc = func.call @row_sums(%w, %c) : (tensor<?x?xf64>, tensor<?xf64>) -> tensor<?xf64>
  %new = tensor.generate %out {
  ^bb0(%o: index):
    %x = tensor.extract %b[%o] : tensor<?xf64>
    %f = func.call @element(%d, %o) : (tensor<?xf64>, index) -> f64
    %g = func.call @element(%e, %o) : (tensor<?xf64>, index) -> f64
    %h = tensor.extract %Wc[%o] : tensor<?xf64>
    %xf = arith.mulf %x, %f : f64
    %y = arith.addf %x, %xf : f64
    %z = arith.addf %y, %g : f64
    %all = arith.addf %z, %h : f64
    tensor.yield %all : f64
  } : tensor<?xf64>
  adapter.yield %u, %new : !adapter.update<tensor<?x?xf64>>, tensor<?xf64>
}

adapter.form @glora_scaled_weight for [linear]
    roles(%A "A" : "out | 1; out | 1, 1", %B "B" : "out | 1; out | 1, 1") {
  %out = adapter.symbol "out"
  %cols = adapter.symbol "cols"
  %one = arith.constant 1.0 : f64
  %c1 = arith.constant 1 : index
  %gain = tensor.generate %out {
  ^bb0(%o: index):
    %x = func.call @element(%A, %o) : (tensor<?xf64>, index) -> f64
    %y = arith.addf %one, %x : f64
    tensor.yield %y : f64
  } : tensor<?xf64>
  %shift = tensor.generate %out, %c1 {
  ^bb0(%o: index, %i: index):
    %x = func.call @element(%B, %o) : (tensor<?xf64>, index) -> f64
    tensor.yield %x : f64
  } : tensor<?x?xf64>
  %ones = tensor.splat %one[%c1, %cols] : tensor<?x?xf64>
  %gains = adapter.diagonal %gain : tensor<?xf64>
  %scaled = adapter.left %gains
  %column = adapter.matrix %shift : tensor<?x?xf64>
  %row = adapter.matrix %ones : tensor<?x?xf64>
  %m = adapter.chain %column, %row
  %shifted = adapter.add %m
  %u = adapter.compose %scaled, %shifted : !adapter.update<tensor<?x?xf64>>
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
