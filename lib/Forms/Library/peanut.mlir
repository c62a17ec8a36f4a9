// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// PEANuT (arXiv 2410.01870): W' = W + s B h', h = f(W' A') [in, r] made of the weight by a small network, with encoders
// h <- f(h E') and as many decoders h <- f(h D') + what the encoder got. PEFT: peanut.
adapter.form @peanut for [linear]
    roles(%A "A" : "r, out", %B "B" : "out, r", %E "encoders" : "d, r, r" optional, %D "decoders" : "d, r, r" optional)
    scalars(%s "scale" = 1.0)
    attributes(%f "activation" = 0)
    choice("none | encoders, decoders")
    requires("activation <= 6") {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %r = adapter.symbol "r"
  %cols = adapter.symbol "cols"
  %w = adapter.weight : tensor<?x?xf64>
  %aw = func.call @matmul(%A, %w) : (tensor<?x?xf64>, tensor<?x?xf64>) -> tensor<?x?xf64>
  // h is held as [r, in].
  %first = func.call @activated(%aw, %f) : (tensor<?x?xf64>, index) -> tensor<?x?xf64>
  %h = adapter.if_given %E : tensor<?x?x?xf64> -> tensor<?x?xf64> {
    %d = adapter.symbol "d"
    %room = tensor.empty(%d, %r, %cols) : tensor<?x?x?xf64>
    %down:2 = scf.for %i = %c0 to %d step %c1 iter_args(%x = %first, %kept = %room) -> (tensor<?x?xf64>, tensor<?x?x?xf64>) {
      %kept1 = tensor.insert_slice %x into %kept[%i, 0, 0] [1, %r, %cols] [1, 1, 1] : tensor<?x?xf64> into tensor<?x?x?xf64>
      %e = tensor.extract_slice %E[%i, 0, 0] [1, %r, %r] [1, 1, 1] : tensor<?x?x?xf64> to tensor<?x?xf64>
      %p = func.call @matmul(%e, %x) : (tensor<?x?xf64>, tensor<?x?xf64>) -> tensor<?x?xf64>
      %y = func.call @activated(%p, %f) : (tensor<?x?xf64>, index) -> tensor<?x?xf64>
      scf.yield %y, %kept1 : tensor<?x?xf64>, tensor<?x?x?xf64>
    }
    %up = scf.for %i = %c0 to %d step %c1 iter_args(%x = %down#0) -> tensor<?x?xf64> {
      %e = tensor.extract_slice %D[%i, 0, 0] [1, %r, %r] [1, 1, 1] : tensor<?x?x?xf64> to tensor<?x?xf64>
      %p = func.call @matmul(%e, %x) : (tensor<?x?xf64>, tensor<?x?xf64>) -> tensor<?x?xf64>
      %y = func.call @activated(%p, %f) : (tensor<?x?xf64>, index) -> tensor<?x?xf64>
      %left = arith.subi %d, %i : index
      %at = arith.subi %left, %c1 : index
      %before = tensor.extract_slice %down#1[%at, 0, 0] [1, %r, %cols] [1, 1, 1] : tensor<?x?x?xf64> to tensor<?x?xf64>
      %z = arith.addf %y, %before : tensor<?x?xf64>
      scf.yield %z : tensor<?x?xf64>
    }
    adapter.yield %up : tensor<?x?xf64>
  } else {
    adapter.yield %first : tensor<?x?xf64>
  }
  %b = adapter.matrix %B : tensor<?x?xf64>
  %a = adapter.matrix %h : tensor<?x?xf64>
  %m = adapter.chain %b, %a
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
