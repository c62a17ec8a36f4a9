// RUN: adapter-opt %s --split-input-file --verify-diagnostics

func.func @heads(%q: tensor<?x3x?x8xf32>, %k: tensor<?x2x?x8xf32>) {
  // expected-error @below {{has 3 heads of queries, which 2 of keys do not divide}}
  %y = adapter.attention %q, %k, %k {scale = 1.0 : f32} : tensor<?x3x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32> -> tensor<?x3x?x8xf32>
  return
}

// -----

func.func @widths(%q: tensor<?x2x?x4xf32>, %k: tensor<?x2x?x8xf32>) {
  // expected-error @below {{has operands whose widths differ}}
  %y = adapter.attention %q, %k, %k {scale = 1.0 : f32} : tensor<?x2x?x4xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32> -> tensor<?x2x?x8xf32>
  return
}

// -----

func.func @dynamic(%q: tensor<?x?x?x8xf32>) {
  // expected-error @below {{needs static numbers of heads and widths}}
  %y = adapter.attention %q, %q, %q {scale = 1.0 : f32} : tensor<?x?x?x8xf32>, tensor<?x?x?x8xf32>, tensor<?x?x?x8xf32> -> tensor<?x?x?x8xf32>
  return
}

// -----

func.func @window(%q: tensor<?x2x?x8xf32>) {
  // expected-error @below {{has a window, which needs causal}}
  %y = adapter.attention %q, %q, %q {scale = 1.0 : f32, window = 3 : i64} : tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32> -> tensor<?x2x?x8xf32>
  return
}

// -----

func.func @state(%q: tensor<?x2x?x8xf32>) {
  // expected-error @below {{needs the numbers of two states, of keys and of values}}
  %y = adapter.attention %q, %q, %q {scale = 1.0 : f32, state = array<i64: 0>} : tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32> -> tensor<?x2x?x8xf32>
  return
}
