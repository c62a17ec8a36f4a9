// RUN: adapter-opt %s --split-input-file --verify-diagnostics

// Places of all experts.
func.func @f(%x: tensor<?x4xf32>, %i: tensor<?x2xi64>, %w: tensor<?x2xf32>, %u: tensor<4x6x4xf32>, %d: tensor<4x4x6xf32>) {
  // expected-error @below {{'adapter.experts' op has places for 3 experts of 4}}
  %0 = adapter.experts relu %x, %i, %w, %u, %d ranks 2 placement [0, 1, 1] : tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<4x6x4xf32>, tensor<4x4x6xf32> -> tensor<?x4xf32>
  return
}

// -----

// As many for each.
func.func @f(%x: tensor<?x4xf32>, %i: tensor<?x2xi64>, %w: tensor<?x2xf32>, %u: tensor<4x6x4xf32>, %d: tensor<4x4x6xf32>) {
  // expected-error @below {{'adapter.experts' op cannot place 4 experts evenly on 3 ranks}}
  %0 = adapter.experts relu %x, %i, %w, %u, %d ranks 3 placement [0, 1, 2, 0] : tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<4x6x4xf32>, tensor<4x4x6xf32> -> tensor<?x4xf32>
  return
}

// -----

// None at all.
func.func @f(%x: tensor<?x4xf32>, %i: tensor<?x2xi64>, %w: tensor<?x2xf32>, %u: tensor<4x6x4xf32>, %d: tensor<4x4x6xf32>) {
  // expected-error @below {{'adapter.experts' op cannot place 4 experts evenly on 0 ranks}}
  %0 = adapter.experts relu %x, %i, %w, %u, %d ranks 0 placement [0, 0, 0, 0] : tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<4x6x4xf32>, tensor<4x4x6xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>, %i: tensor<?x2xi64>, %w: tensor<?x2xf32>, %u: tensor<4x6x4xf32>, %d: tensor<4x4x6xf32>) {
  // expected-error @below {{'adapter.experts' op places 3 experts on rank 0, not 2 on each}}
  %0 = adapter.experts relu %x, %i, %w, %u, %d ranks 2 placement [0, 0, 0, 1] : tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<4x6x4xf32>, tensor<4x4x6xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>, %i: tensor<?x2xi64>, %w: tensor<?x2xf32>, %u: tensor<4x6x4xf32>, %d: tensor<4x4x6xf32>) {
  // expected-error @below {{'adapter.experts' op places an expert on rank 2 of 2}}
  %0 = adapter.experts relu %x, %i, %w, %u, %d ranks 2 placement [0, 1, 2, 0] : tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<4x6x4xf32>, tensor<4x4x6xf32> -> tensor<?x4xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>, %i: tensor<?x2xi64>, %w: tensor<?x2xf32>, %u: tensor<4x6x4xf32>, %d: tensor<4x4x6xf32>) {
  // expected-error @below {{'adapter.experts' op needs both ranks and a placement or neither}}
  %0 = adapter.experts relu %x, %i, %w, %u, %d {ranks = 2 : i64} : tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<4x6x4xf32>, tensor<4x4x6xf32> -> tensor<?x4xf32>
  return
}

// -----

// A bias of another width.
func.func @f(%x: tensor<?x4xf32>, %i: tensor<?x2xi64>, %w: tensor<?x2xf32>, %u: tensor<4x6x4xf32>, %d: tensor<4x4x6xf32>, %b: tensor<4x4xf32>) {
  // expected-error @below {{'adapter.experts' op has a bias of 'tensor<4x4xf32>'}}
  %0 = adapter.experts relu %x, %i, %w, %u, %d bias %b : tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<4x6x4xf32>, tensor<4x4x6xf32>, tensor<4x4xf32> -> tensor<?x4xf32>
  return
}
