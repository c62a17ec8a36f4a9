// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// VeRA (arXiv 2310.11454): W' = W + diag(b) B diag(d) A with A and B random, drawn once for all modules as large as the
// largest of them, and b and d learned. PEFT: vera.
adapter.form @vera for [linear]
    roles(%A "A" : "r, widest" shared, %B "B" : "tallest, r" shared, %lb "lambda_b" : "out", %ld "lambda_d" : "r")
    requires("widest >= cols", "tallest >= out") {
  %r = adapter.symbol "r"
  %out = adapter.symbol "out"
  %cols = adapter.symbol "cols"
  %a = tensor.extract_slice %A[0, 0] [%r, %cols] [1, 1] : tensor<?x?xf64> to tensor<?x?xf64>
  %b = tensor.extract_slice %B[0, 0] [%out, %r] [1, 1] : tensor<?x?xf64> to tensor<?x?xf64>
  %1 = adapter.diagonal %lb : tensor<?xf64>
  %2 = adapter.matrix %b : tensor<?x?xf64>
  %3 = adapter.diagonal %ld : tensor<?xf64>
  %4 = adapter.matrix %a : tensor<?x?xf64>
  %m = adapter.chain %1, %2, %3, %4
  %u = adapter.add %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}

// PVeRA (arXiv 2512.07703): the same with a mean and a spread for each of A's directions, of which a run that does not draw takes the
// means, the first half. PEFT: pvera.
adapter.form @pvera for [linear]
    roles(%A "A" : "rr, widest" shared, %B "B" : "tallest, r" shared, %lb "lambda_b" : "out", %ld "lambda_d" : "rr")
    requires("widest >= cols", "tallest >= out", "rr == 2 * r") {
  %r = adapter.symbol "r"
  %out = adapter.symbol "out"
  %cols = adapter.symbol "cols"
  %a = tensor.extract_slice %A[0, 0] [%r, %cols] [1, 1] : tensor<?x?xf64> to tensor<?x?xf64>
  %b = tensor.extract_slice %B[0, 0] [%out, %r] [1, 1] : tensor<?x?xf64> to tensor<?x?xf64>
  %d = tensor.extract_slice %ld[0] [%r] [1] : tensor<?xf64> to tensor<?xf64>
  %1 = adapter.diagonal %lb : tensor<?xf64>
  %2 = adapter.matrix %b : tensor<?x?xf64>
  %3 = adapter.diagonal %d : tensor<?xf64>
  %4 = adapter.matrix %a : tensor<?x?xf64>
  %m = adapter.chain %1, %2, %3, %4
  %u = adapter.add %m
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
