// RUN: adapter-opt %s --split-input-file --verify-diagnostics

// A number of experts and another way to choose.
func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{expected top, argmax, threshold, top_p or all}}
  %0:2 = adapter.route softmax score_first some normalise none scope token %l : tensor<?x8xf32> -> tensor<?x8xf32>, tensor<?x8xi64>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{'adapter.route' op needs a temperature above 0}}
  %0:2 = adapter.route softmax score_first top 2 normalise none scope token temperature 0.0 %l : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi64>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{'adapter.route' op has a temperature and no score that it could act on}}
  %0:2 = adapter.route none score_first top 2 normalise none scope token temperature 2.0 %l : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi64>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{'adapter.route' op has 8 null and 0 shared experts beside logits of 8}}
  %0:2 = adapter.route softmax score_first top 2 normalise none scope token null 8 %l : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi64>
  return
}

// -----

// All experts in an order.
func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{'adapter.route' op chooses all experts, which comes before or after nothing}}
  %0:2 = adapter.route softmax select_first all normalise none scope token %l : tensor<?x8xf32> -> tensor<?x8xf32>, tensor<?x8xi64>
  return
}

// -----

// Sigmoids add up to anything.
func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{'adapter.route' op chooses by top_p among what does not add up to 1}}
  %0:2 = adapter.route sigmoid score_first top_p 0.5 normalise none scope token %l : tensor<?x8xf32> -> tensor<?x8xf32>, tensor<?x8xi64>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{'adapter.route' op needs a share from 0 to 1 for top_p}}
  %0:2 = adapter.route softmax score_first top_p 1.5 normalise none scope token %l : tensor<?x8xf32> -> tensor<?x8xf32>, tensor<?x8xi64>
  return
}

// -----

// A threshold gives weights of all experts.
func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{'adapter.route' op has a weight and an id for each chosen expert}}
  %0:2 = adapter.route softmax score_first threshold 0.5 normalise none scope token %l : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi64>
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{'adapter.route' op needs a limit for threshold and top_p, and for them alone}}
  %0:2 = "adapter.route"(%l) {score = 1 : i32, order = 0 : i32, selection = 2 : i32, normalise = 0 : i32, scope = 0 : i32} : (tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xi64>)
  return
}

// -----

func.func @f(%l: tensor<?x8xf32>) {
  // expected-error @below {{'adapter.route' op has a number of experts, but chooses by all}}
  %0:2 = "adapter.route"(%l) {score = 1 : i32, order = 0 : i32, selection = 4 : i32, top = 2 : i64, normalise = 0 : i32, scope = 0 : i32} : (tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xi64>)
  return
}

// -----

// Blocks of other ranks than the factors have.
func.func @f(%a: tensor<12x64xf32>, %b: tensor<32x12xf32>, %g: tensor<?x2xf32>) {
  %u = adapter.low_rank %a, %b : tensor<12x64xf32>, tensor<32x12xf32> -> !adapter.update<tensor<32x64xf32>>
  // expected-error @below {{'adapter.mix' op has blocks of 10 ranks in all for factors of rank 12}}
  %m = adapter.mix %u, %g blocks [8, 2] : !adapter.update<tensor<32x64xf32>>, tensor<?x2xf32>
  return
}

// -----

func.func @f(%a: tensor<12x64xf32>, %b: tensor<32x12xf32>, %g: tensor<?x3xf32>) {
  %u = adapter.low_rank %a, %b : tensor<12x64xf32>, tensor<32x12xf32> -> !adapter.update<tensor<32x64xf32>>
  // expected-error @below {{'adapter.mix' op has 3 weights for 2 blocks}}
  %m = adapter.mix %u, %g blocks [8, 4] : !adapter.update<tensor<32x64xf32>>, tensor<?x3xf32>
  return
}

// -----

func.func @f(%v: tensor<32x64xf32>, %g: tensor<?x2xf32>) {
  %u = adapter.dense %v : tensor<32x64xf32> -> !adapter.update<tensor<32x64xf32>>
  // expected-error @below {{'adapter.mix' op needs the factors of an adapter.low_rank}}
  %m = adapter.mix %u, %g blocks [8, 4] : !adapter.update<tensor<32x64xf32>>, tensor<?x2xf32>
  return
}

// -----

func.func @f(%a: tensor<12x64xf32>, %b: tensor<32x12xf32>, %g: tensor<?x2xf32>, %c: tensor<2xf32>) {
  %u = adapter.low_rank %a, %b : tensor<12x64xf32>, tensor<32x12xf32> -> !adapter.update<tensor<32x64xf32>>
  // expected-error @below {{'adapter.mix' op needs a gate of one element; got 'tensor<2xf32>'}}
  %m = adapter.mix %u, %g gate %c : tensor<2xf32> blocks [8, 4] : !adapter.update<tensor<32x64xf32>>, tensor<?x2xf32>
  return
}

// -----

// A router over other experts.
func.func @f(%a: tensor<12x64xf32>, %b: tensor<32x12xf32>, %l: tensor<?x8xf32>) {
  %u = adapter.low_rank %a, %b : tensor<12x64xf32>, tensor<32x12xf32> -> !adapter.update<tensor<32x64xf32>>
  %g, %i = adapter.route softmax score_first argmax normalise none scope token %l : tensor<?x8xf32> -> tensor<?x1xf32>, tensor<?x1xi64>
  // expected-error @below {{'adapter.mix' op has 2 blocks for a router over 8}}
  %m = adapter.mix %u, %g ids %i : tensor<?x1xi64> blocks [8, 4] : !adapter.update<tensor<32x64xf32>>, tensor<?x1xf32>
  return
}

// -----

// There is no weight that would be W + B diag(g(x)) A.
func.func @f(%w: tensor<32x64xf32>, %a: tensor<12x64xf32>, %b: tensor<32x12xf32>, %g: tensor<?x2xf32>) {
  %u = adapter.low_rank %a, %b : tensor<12x64xf32>, tensor<32x12xf32> -> !adapter.update<tensor<32x64xf32>>
  %m = adapter.mix %u, %g blocks [8, 4] : !adapter.update<tensor<32x64xf32>>, tensor<?x2xf32>
  // expected-error @below {{'adapter.materialize' op has an update that depends on the input of the weight's reader}}
  %v = adapter.materialize %w, %m : tensor<32x64xf32>
  return
}
