// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// BOFT (arXiv 2311.06243): W' = diag(s) W Q_0' .. Q_(n - 1)' with Q_i = P_i K_i P_i', K_i blocks of rotations, and P_i the
// permutation of a butterfly's level: within runs of b 2^i entries the even halves of blocks come before the odd ones.
// Each block is the Cayley transform (I - S) (I + S)^-1 of S = (R - R') / 2. The bias stays. PEFT: boft.
adapter.form @boft for [linear, convolution]
    roles(%R0 "R0" : "k, b, b", %R1 "R1" : "k, b, b" optional, %R2 "R2" : "k, b, b" optional,
          %R3 "R3" : "k, b, b" optional, %R4 "R4" : "k, b, b" optional, %R5 "R5" : "k, b, b" optional,
          %s "s" : "out; out, 1; 1, out")
    choice("none | R1 | R1, R2 | R1, R2, R3 | R1, R2, R3, R4 | R1, R2, R3, R4, R5")
    requires("k * b == cols", "groups == 1") {
  %k = adapter.symbol "k"
  %cols = adapter.symbol "cols"
  %b = adapter.symbol "b"
  %T0 = func.call @cayley_of(%R0) : (tensor<?x?x?xf64>) -> tensor<?x?x?xf64>
  %q0 = adapter.blocks %T0 of %k : tensor<?x?x?xf64>
  %q1 = adapter.if_given %R1 : tensor<?x?x?xf64> -> !adapter.map {
    %level = arith.constant 1 : index
    %order = func.call @butterfly(%cols, %b, %level) : (index, index, index) -> tensor<?xi64>
    %T = func.call @cayley_of(%R1) : (tensor<?x?x?xf64>) -> tensor<?x?x?xf64>
    %p = adapter.permute %order : tensor<?xi64>
    %rotation = adapter.blocks %T of %k : tensor<?x?x?xf64>
    %back = adapter.adjoint %p
    %next = adapter.chain %p, %rotation, %back, %q0
    adapter.yield %next : !adapter.map
  } else {
    adapter.yield %q0 : !adapter.map
  }
  %q2 = adapter.if_given %R2 : tensor<?x?x?xf64> -> !adapter.map {
    %level = arith.constant 2 : index
    %order = func.call @butterfly(%cols, %b, %level) : (index, index, index) -> tensor<?xi64>
    %T = func.call @cayley_of(%R2) : (tensor<?x?x?xf64>) -> tensor<?x?x?xf64>
    %p = adapter.permute %order : tensor<?xi64>
    %rotation = adapter.blocks %T of %k : tensor<?x?x?xf64>
    %back = adapter.adjoint %p
    %next = adapter.chain %p, %rotation, %back, %q1
    adapter.yield %next : !adapter.map
  } else {
    adapter.yield %q1 : !adapter.map
  }
  %q3 = adapter.if_given %R3 : tensor<?x?x?xf64> -> !adapter.map {
    %level = arith.constant 3 : index
    %order = func.call @butterfly(%cols, %b, %level) : (index, index, index) -> tensor<?xi64>
    %T = func.call @cayley_of(%R3) : (tensor<?x?x?xf64>) -> tensor<?x?x?xf64>
    %p = adapter.permute %order : tensor<?xi64>
    %rotation = adapter.blocks %T of %k : tensor<?x?x?xf64>
    %back = adapter.adjoint %p
    %next = adapter.chain %p, %rotation, %back, %q2
    adapter.yield %next : !adapter.map
  } else {
    adapter.yield %q2 : !adapter.map
  }
  %q4 = adapter.if_given %R4 : tensor<?x?x?xf64> -> !adapter.map {
    %level = arith.constant 4 : index
    %order = func.call @butterfly(%cols, %b, %level) : (index, index, index) -> tensor<?xi64>
    %T = func.call @cayley_of(%R4) : (tensor<?x?x?xf64>) -> tensor<?x?x?xf64>
    %p = adapter.permute %order : tensor<?xi64>
    %rotation = adapter.blocks %T of %k : tensor<?x?x?xf64>
    %back = adapter.adjoint %p
    %next = adapter.chain %p, %rotation, %back, %q3
    adapter.yield %next : !adapter.map
  } else {
    adapter.yield %q3 : !adapter.map
  }
  %q5 = adapter.if_given %R5 : tensor<?x?x?xf64> -> !adapter.map {
    %level = arith.constant 5 : index
    %order = func.call @butterfly(%cols, %b, %level) : (index, index, index) -> tensor<?xi64>
    %T = func.call @cayley_of(%R5) : (tensor<?x?x?xf64>) -> tensor<?x?x?xf64>
    %p = adapter.permute %order : tensor<?xi64>
    %rotation = adapter.blocks %T of %k : tensor<?x?x?xf64>
    %back = adapter.adjoint %p
    %next = adapter.chain %p, %rotation, %back, %q4
    adapter.yield %next : !adapter.map
  } else {
    adapter.yield %q4 : !adapter.map
  }
  %turned = adapter.adjoint %q5
  %u = adapter.right %turned
  %d = adapter.diagonal %s : tensor<?xf64>
  %v = adapter.left %d
  %w = adapter.compose %u, %v : !adapter.update<tensor<?x?xf64>>
  adapter.yield %w : !adapter.update<tensor<?x?xf64>>
}
