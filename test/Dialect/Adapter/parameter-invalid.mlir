// RUN: adapter-opt %s --split-input-file --verify-diagnostics

func.func @unnamed() {
  // A parameter is found by scope and key.
  // expected-error @below {{'adapter.parameter' op needs a scope and a key}}
  %w = adapter.parameter ""::"w" : tensor<8xf32>
  return
}

// -----

func.func @big() {
  // Weights do not stand in the IR.
  // expected-error @below {{'adapter.parameter' op carries 65 elements; only tensors of at most 64 stand in the IR}}
  %w = adapter.parameter "base"::"w" = dense<1> : tensor<65xi64>
  return
}
