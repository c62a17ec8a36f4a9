// RUN: adapter-opt %s --split-input-file --verify-diagnostics

// Operator sets come in pairs.
// expected-error @below {{'onnx.model' op needs a version for each domain of 'opsets'}}
onnx.model @odd attributes {ir_version = 8 : i64, opsets = [""]} {
}

// -----

// A pair is a string and an integer.
// expected-error @below {{'onnx.model' op needs domains and versions in turn in 'opsets'}}
onnx.model @swapped attributes {ir_version = 8 : i64, opsets = [17, ""]} {
}

// -----

onnx.model @names attributes {ir_version = 8 : i64, opsets = ["", 17]} {
  // Each input has a name.
  // expected-error @below {{'onnx.graph' op has 1 inputs but 2 input names}}
  onnx.graph @main (%x: tensor<f32>) {
    onnx.return {output_names = ["x"]} %x : tensor<f32>
  } {input_names = ["x", "y"]}
}

// -----

func.func @results(%x: tensor<f32>) {
  // Each result has a name.
  // expected-error @below {{'onnx.node' op has 1 results but 0 result names}}
  %y = onnx.node "Abs"(%x) {result_names = []} : (tensor<f32>) -> tensor<f32>
  return
}

// -----

func.func @regions(%x: tensor<f32>) {
  // Each region has a name.
  // expected-error @below {{'onnx.node' op has 1 regions but 0 region names}}
  %y = onnx.node "Loop"(%x) {result_names = ["y"]} : (tensor<f32>) -> tensor<f32> {
    onnx.return
  }
  return
}

// -----

func.func @metadata(%x: tensor<f32>) {
  // Metadata comes in pairs.
  // expected-error @below {{'onnx.node' op needs a value for each metadata key}}
  %y = onnx.node "Abs"(%x) {metadata = ["key"], result_names = ["y"]} : (tensor<f32>) -> tensor<f32>
  return
}

// -----

onnx.model @function attributes {ir_version = 8 : i64, opsets = ["", 17]} {
  // A function's own operator sets are checked too.
  // expected-error @below {{'onnx.function' op needs a version for each domain of 'opsets'}}
  onnx.function @f () {
    onnx.return
  } {domain = "", function_name = "f", input_names = [], opsets = [""]}
}

// -----

onnx.model @outputs attributes {ir_version = 8 : i64, opsets = ["", 17]} {
  onnx.graph @main (%x: tensor<f32>) {
    // Each output has a name.
    // expected-error @below {{'onnx.return' op has 1 operands but 2 output names}}
    onnx.return {output_names = ["x", "y"]} %x : tensor<f32>
  } {input_names = ["x"]}
}

// -----

func.func @terminator(%x: tensor<f32>) {
  // A subgraph says what its outputs are.
  // expected-error @below {{'onnx.node' op needs onnx.return at the end of each region}}
  %y = onnx.node "Loop"(%x) {region_names = ["body"], result_names = ["y"]} : (tensor<f32>) -> tensor<f32> {
    %z = onnx.absent
  }
  return
}

// -----

func.func @version(%x: tensor<f32>) {
  // The operator set of one node is a number.
  // expected-error @below {{'onnx.node' op 'onnx.version' is a whole number on an onnx.node}}
  %y = onnx.node "Relu"(%x) {onnx.version = "new", result_names = ["y"]} : (tensor<f32>) -> tensor<f32>
  return
}
