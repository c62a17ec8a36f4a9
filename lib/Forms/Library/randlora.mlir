// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// RandLoRA (arXiv 2502.00987): W' = W + s sum_j B_j diag(lambda_j) A diag(gamma_j) with A and the B_j random and the same
// for all modules; of a weight that is wider than tall the transposed sum. PEFT: randlora, whose products take the pairs
// (i, j) of rank and term in another order on either side: that order is this one.
adapter.form @randlora for [linear]
    roles(%A "A" : "r, 1, least" shared, %B "B" : "most, terms, r" shared, %l "lambda" : "r, n", %g "gamma" : "n, low")
    scalars(%s "scale" = 1.0)
    where("high = max(out, cols)")
    requires("low == min(out, cols)", "least >= low", "most >= high", "terms >= n") {
  %c0 = arith.constant 0 : index
  %out = adapter.symbol "out"
  %cols = adapter.symbol "cols"
  %r = adapter.symbol "r"
  %n = adapter.symbol "n"
  %low = adapter.symbol "low"
  %high = adapter.symbol "high"
  %nr = arith.muli %n, %r : index
  %narrow = tensor.generate %nr, %low {
  ^bb0(%k: index, %c: index):
    %i = arith.divui %k, %n : index
    %j = arith.remui %k, %n : index
    %a = tensor.extract %A[%i, %c0, %c] : tensor<?x?x?xf64>
    %f = tensor.extract %l[%i, %j] : tensor<?x?xf64>
    %h = tensor.extract %g[%j, %c] : tensor<?x?xf64>
    %p = arith.mulf %a, %f : f64
    %q = arith.mulf %p, %h : f64
    tensor.yield %q : f64
  } : tensor<?x?xf64>
  %wide = tensor.generate %high, %nr {
  ^bb0(%o: index, %k: index):
    %j = arith.divui %k, %r : index
    %i = arith.remui %k, %r : index
    %b = tensor.extract %B[%o, %j, %i] : tensor<?x?x?xf64>
    tensor.yield %b : f64
  } : tensor<?x?xf64>
  %isWide = arith.cmpi ult, %out, %cols : index
  %up = scf.if %isWide -> tensor<?x?xf64> {
    %t = func.call @transposed(%narrow) : (tensor<?x?xf64>) -> tensor<?x?xf64>
    scf.yield %t : tensor<?x?xf64>
  } else {
    scf.yield %wide : tensor<?x?xf64>
  }
  %down = scf.if %isWide -> tensor<?x?xf64> {
    %t = func.call @transposed(%wide) : (tensor<?x?xf64>) -> tensor<?x?xf64>
    scf.yield %t : tensor<?x?xf64>
  } else {
    scf.yield %narrow : tensor<?x?xf64>
  }
  %b = adapter.matrix %up : tensor<?x?xf64>
  %a = adapter.matrix %down : tensor<?x?xf64>
  %m = adapter.chain %b, %a
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
