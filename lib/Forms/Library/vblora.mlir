// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// VB-LoRA (arXiv 2405.15179): W' = W + s B A, both put together of pieces, each a mixture of `topk` vectors of one bank:
// a softmax over its largest logits, or the weights and indices that are left of them. PEFT: vblora.
adapter.form @vblora for [linear]
    roles(%bank "bank" : "n, l" shared,
          %la "logits_A" : "r, na, n" optional, %lb "logits_B" : "nb, r, n" optional,
          %ia "indices_A" : "r, na, k" index optional, %wa "weights_A" : "r, na, k - 1" optional,
          %ib "indices_B" : "nb, r, k" index optional, %wb "weights_B" : "nb, r, k - 1" optional)
    scalars(%s "scale" = 1.0)
    attributes(%topk "topk" = 2)
    choice("logits_A, logits_B | indices_A, weights_A, indices_B, weights_B")
    where("na = cols / l", "nb = out / l")
    requires("na * l == cols", "nb * l == out") {
  %n = adapter.symbol "n"
  %l = adapter.symbol "l"
  %r = adapter.symbol "r"
  %na = adapter.symbol "na"
  %out = adapter.symbol "out"
  %cols = adapter.symbol "cols"
  %sharesA = adapter.if_given %la : tensor<?x?x?xf64> -> tensor<?x?xf64> {
    %rows = tensor.collapse_shape %la [[0, 1], [2]] : tensor<?x?x?xf64> into tensor<?x?xf64>
    %x = func.call @top_softmax(%rows, %topk) : (tensor<?x?xf64>, index) -> tensor<?x?xf64>
    adapter.yield %x : tensor<?x?xf64>
  } else {
    %i = tensor.collapse_shape %ia [[0, 1], [2]] : tensor<?x?x?xi64> into tensor<?x?xi64>
    %w = tensor.collapse_shape %wa [[0, 1], [2]] : tensor<?x?x?xf64> into tensor<?x?xf64>
    %x = func.call @shares_of(%i, %w, %n) : (tensor<?x?xi64>, tensor<?x?xf64>, index) -> tensor<?x?xf64>
    adapter.yield %x : tensor<?x?xf64>
  }
  %sharesB = adapter.if_given %lb : tensor<?x?x?xf64> -> tensor<?x?xf64> {
    %rows = tensor.collapse_shape %lb [[0, 1], [2]] : tensor<?x?x?xf64> into tensor<?x?xf64>
    %x = func.call @top_softmax(%rows, %topk) : (tensor<?x?xf64>, index) -> tensor<?x?xf64>
    adapter.yield %x : tensor<?x?xf64>
  } else {
    %i = tensor.collapse_shape %ib [[0, 1], [2]] : tensor<?x?x?xi64> into tensor<?x?xi64>
    %w = tensor.collapse_shape %wb [[0, 1], [2]] : tensor<?x?x?xf64> into tensor<?x?xf64>
    %x = func.call @shares_of(%i, %w, %n) : (tensor<?x?xi64>, tensor<?x?xf64>, index) -> tensor<?x?xf64>
    adapter.yield %x : tensor<?x?xf64>
  }
  %piecesA = func.call @matmul(%sharesA, %bank) : (tensor<?x?xf64>, tensor<?x?xf64>) -> tensor<?x?xf64>
  %piecesB = func.call @matmul(%sharesB, %bank) : (tensor<?x?xf64>, tensor<?x?xf64>) -> tensor<?x?xf64>
  %A = tensor.generate %r, %cols {
  ^bb0(%i: index, %c: index):
    %start = arith.muli %i, %na : index
    %piece = arith.divui %c, %l : index
    %row = arith.addi %start, %piece : index
    %at = arith.remui %c, %l : index
    %x = tensor.extract %piecesA[%row, %at] : tensor<?x?xf64>
    tensor.yield %x : f64
  } : tensor<?x?xf64>
  %B = tensor.generate %out, %r {
  ^bb0(%o: index, %i: index):
    %piece = arith.divui %o, %l : index
    %start = arith.muli %piece, %r : index
    %row = arith.addi %start, %i : index
    %at = arith.remui %o, %l : index
    %x = tensor.extract %piecesB[%row, %at] : tensor<?x?xf64>
    tensor.yield %x : f64
  } : tensor<?x?xf64>
  %b = adapter.matrix %B : tensor<?x?xf64>
  %a = adapter.matrix %A : tensor<?x?xf64>
  %m = adapter.chain %b, %a
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
