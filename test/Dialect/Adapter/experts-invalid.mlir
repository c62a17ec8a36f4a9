// RUN: adapter-opt %s --split-input-file --verify-diagnostics

// More than there are.
func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{'adapter.route' op chooses 9 of 8 experts}}
  %0:2 = adapter.route softmax score_first top 9 normalise none scope token %l : tensor<?x8xf32> -> tensor<?x9xf32>, tensor<?x9xi64>
  return
}

// -----

// Results of another width.
func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{'adapter.route' op has a weight and an id for each chosen expert}}
  %0:2 = adapter.route softmax score_first top 3 normalise none scope token %l : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi64>
  return
}

// -----

// Scores of all experts do not exist where the selection comes first.
func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{'adapter.route' op cannot normalise before a selection that comes before the score}}
  %0:2 = adapter.route sigmoid select_first top 2 normalise before scope token %l : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi64>
  return
}

// -----

// Logits may add up to nothing.
func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{'adapter.route' op cannot divide logits by their sum}}
  %0:2 = adapter.route none score_first top 2 normalise after scope token %l : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi64>
  return
}

// -----

// A softmax is normalised.
func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{'adapter.route' op normalises what its softmax has normalised}}
  %0:2 = adapter.route softmax score_first top 2 normalise before scope token %l : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi64>
  return
}

// -----

// So is one over the chosen.
func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{'adapter.route' op normalises what its softmax has normalised}}
  %0:2 = adapter.route softmax select_first top 2 normalise after scope token %l : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi64>
  return
}

// -----

// No score to come second.
func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{'adapter.route' op has no score that could follow the selection}}
  %0:2 = adapter.route none select_first top 2 normalise none scope token %l : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi64>
  return
}

// -----

// Ids of numbers.
func.func @f(%x: tensor<?x4xf32>, %i: tensor<?x2xf32>, %w: tensor<?x2xf32>, %u: tensor<8x12x4xf32>, %d: tensor<8x4x6xf32>) {
  // expected-error @below {{'adapter.experts' op needs ids that are integers}}
  %0 = adapter.experts silu %x, %i, %w, %u, %d {gated} : tensor<?x4xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<8x12x4xf32>, tensor<8x4x6xf32> -> tensor<?x4xf32>
  return
}

// -----

// Other tokens.
func.func @f(%x: tensor<4x4xf32>, %i: tensor<5x2xi64>, %w: tensor<5x2xf32>, %u: tensor<8x12x4xf32>, %d: tensor<8x4x6xf32>) {
  // expected-error @below {{'adapter.experts' op has ids of 5 tokens for 4}}
  %0 = adapter.experts silu %x, %i, %w, %u, %d {gated} : tensor<4x4xf32>, tensor<5x2xi64>, tensor<5x2xf32>, tensor<8x12x4xf32>, tensor<8x4x6xf32> -> tensor<?x4xf32>
  return
}

// -----

// Other numbers of experts.
func.func @f(%x: tensor<?x4xf32>, %i: tensor<?x2xi64>, %w: tensor<?x2xf32>, %u: tensor<8x12x4xf32>, %d: tensor<6x4x6xf32>) {
  // expected-error @below {{'adapter.experts' op has 8 experts in one product, 6 in the other}}
  %0 = adapter.experts silu %x, %i, %w, %u, %d {gated} : tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<8x12x4xf32>, tensor<6x4x6xf32> -> tensor<?x4xf32>
  return
}

// -----

// Another width.
func.func @f(%x: tensor<?x3xf32>, %i: tensor<?x2xi64>, %w: tensor<?x2xf32>, %u: tensor<8x12x4xf32>, %d: tensor<8x4x6xf32>) {
  // expected-error @below {{'adapter.experts' op has an input of width 3 for experts that take 4}}
  %0 = adapter.experts silu %x, %i, %w, %u, %d {gated} : tensor<?x3xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<8x12x4xf32>, tensor<8x4x6xf32> -> tensor<?x4xf32>
  return
}

// -----

// An odd width has no halves.
func.func @f(%x: tensor<?x4xf32>, %i: tensor<?x2xi64>, %w: tensor<?x2xf32>, %u: tensor<8x11x4xf32>, %d: tensor<8x4x6xf32>) {
  // expected-error @below {{'adapter.experts' op cannot halve the 11 results of its first product}}
  %0 = adapter.experts silu %x, %i, %w, %u, %d {gated} : tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<8x11x4xf32>, tensor<8x4x6xf32> -> tensor<?x4xf32>
  return
}

// -----

// Without a gate the first product is as wide as the second takes.
func.func @f(%x: tensor<?x4xf32>, %i: tensor<?x2xi64>, %w: tensor<?x2xf32>, %u: tensor<8x12x4xf32>, %d: tensor<8x4x6xf32>) {
  // expected-error @below {{'adapter.experts' op has a first product of width 12 for a second that takes 6}}
  %0 = adapter.experts silu %x, %i, %w, %u, %d : tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<8x12x4xf32>, tensor<8x4x6xf32> -> tensor<?x4xf32>
  return
}

// -----

// Another result.
func.func @f(%x: tensor<?x4xf32>, %i: tensor<?x2xi64>, %w: tensor<?x2xf32>, %u: tensor<8x12x4xf32>, %d: tensor<8x4x6xf32>) {
  // expected-error @below {{'adapter.experts' op has a result of}}
  %0 = adapter.experts silu %x, %i, %w, %u, %d {gated} : tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<8x12x4xf32>, tensor<8x4x6xf32> -> tensor<?x5xf32>
  return
}

// -----

// One expert has no first dimension.
func.func @f(%x: tensor<?x4xf32>, %i: tensor<?x2xi64>, %w: tensor<?x2xf32>, %u: tensor<8x12x4xf32>, %d: tensor<4x6xf32>) {
  // expected-error @below {{'adapter.experts' op needs weights of all experts in tensors of rank 3}}
  %0 = adapter.experts silu %x, %i, %w, %u, %d {gated} : tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<8x12x4xf32>, tensor<4x6xf32> -> tensor<?x4xf32>
  return
}

// -----

// A router over experts that do not exist.
func.func @f(%l: tensor<?x9xf32>, %x: tensor<?x4xf32>, %u: tensor<8x12x4xf32>, %d: tensor<8x4x6xf32>) {
  %w, %i = adapter.route softmax score_first top 2 normalise after scope token %l : tensor<?x9xf32> -> tensor<?x2xf32>, tensor<?x2xi64>
  // expected-error @below {{'adapter.experts' op has 8 experts for a router over 9}}
  %0 = adapter.experts silu %x, %i, %w, %u, %d {gated} : tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<8x12x4xf32>, tensor<8x4x6xf32> -> tensor<?x4xf32>
  return
}
