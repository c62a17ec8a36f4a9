// RUN: adapter-opt %s --split-input-file --verify-diagnostics

!q = tensor<?x2x?x8xf32>

func.func @type(%q: tensor<?x2x?x8xf64>) {
  // expected-error @below {{needs operands of rank 4 and of f32}}
  %y = kernel.attention ins(%q, %q, %q : tensor<?x2x?x8xf64>, tensor<?x2x?x8xf64>, tensor<?x2x?x8xf64>) outs(%q : tensor<?x2x?x8xf64>) {scale = 1.0 : f32} -> tensor<?x2x?x8xf64>
  return
}

// -----

!q = tensor<?x2x?x8xf32>

func.func @mask(%q: !q, %m: tensor<?x3x?x?xf32>) {
  // expected-error @below {{has a mask that does not fit its query}}
  %y = kernel.attention ins(%q, %q, %q, %m : !q, !q, !q, tensor<?x3x?x?xf32>) outs(%q : !q) {scale = 1.0 : f32} -> !q
  return
}

// -----

!q = tensor<?x2x?x8xf32>

func.func @tokens(%q: tensor<?x2x4x8xf32>, %k: tensor<?x2x5x8xf32>, %v: tensor<?x2x6x8xf32>) {
  // expected-error @below {{has operands whose numbers of tokens differ}}
  %y = kernel.attention ins(%q, %k, %v : tensor<?x2x4x8xf32>, tensor<?x2x5x8xf32>, tensor<?x2x6x8xf32>) outs(%q : tensor<?x2x4x8xf32>) {scale = 1.0 : f32} -> tensor<?x2x4x8xf32>
  return
}
