// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LoRA-SB (Initialization using Update Approximation is a Silver Bullet), LoRA-XS (arXiv 2405.17604), NLoRA and IntTune
// (Nystroem-Initiated Low-Rank Adaptation): W' = W + s B R A with a small trained matrix between two fixed ones. Of
// GenerativeAdapter R is the normalized S of a context.
adapter.form @lora_sb for [linear]
    roles(%A "A" : "r, cols", %B "B" : "out, q", %R "R" : "q, r")
    scalars(%s "scale" = 1.0) {
  %b = adapter.matrix %B : tensor<?x?xf64>
  %r = adapter.matrix %R : tensor<?x?xf64>
  %a = adapter.matrix %A : tensor<?x?xf64>
  %m = adapter.chain %b, %r, %a
  %u = adapter.add %m scale %s
  adapter.yield %u : !adapter.update<tensor<?x?xf64>>
}
