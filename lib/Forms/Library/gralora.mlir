// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// GraLoRA (arXiv 2505.20355): the weight as k x k blocks with a low-rank product for each, whose directions are r / k of
// the block's inputs and outputs, beside an ordinary product of all (`hybrid`). PEFT: gralora; the scale is
// alpha / (r + hybrid_r).
adapter.form @gralora for [linear]
    roles(%A "A" : "k, p, r", %B "B" : "k, r, q", %Ag "A_general" : "h, cols" optional, %Bg "B_general" : "out, h" optional)
    scalars(%s "scale" = 1.0)
    choice("none | A_general, B_general")
    where("part = r / k")
    requires("k * p == cols", "k * q == out") {
  %k = adapter.symbol "k"
  %part = adapter.symbol "part"
  %in = adapter.blocks %A of %k : tensor<?x?x?xf64>
  %out = adapter.blocks %B of %k : tensor<?x?x?xf64>
  %down = adapter.adjoint %in
  %turn = adapter.shuffle %k, %k, %part by [1, 0, 2]
  %up = adapter.adjoint %out
  %granular = adapter.chain %up, %turn, %down
  %m = adapter.if_given %Ag : tensor<?x?xf64> -> !adapter.map {
    %a = adapter.matrix %Ag : tensor<?x?xf64>
    %b = adapter.matrix %Bg : tensor<?x?xf64>
    %general = adapter.chain %b, %a
    %both = adapter.plus %granular, %general
    adapter.yield %both : !adapter.map
  } else {
    adapter.yield %granular : !adapter.map
  }
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
