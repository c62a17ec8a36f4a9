// RUN: adapter-opt %s --split-input-file --convert-onnx-to-linalg --verify-diagnostics

// No such operator in the table.
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @unknown (%x: tensor<?x4xf32, #onnx.dims<"n", "">>) {
    // expected-error @below {{Det node 'y': operator Det (opset 20) is not supported in compiled code; -o x.onnx keeps it as it is}}
    %y = onnx.node "Det"(%x) {result_names = ["y"]} : (tensor<?x4xf32, #onnx.dims<"n", "">>) -> tensor<f32>
    onnx.return {output_names = ["y"]} %y : tensor<f32>
  } {input_names = ["x"]}
}

// -----

// An operator before its first version in the table.
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 13 : i64]} {
  onnx.graph @old (%x: tensor<?x4xf32, #onnx.dims<"n", "">>) {
    // expected-error @below {{operator Gelu (opset 13) is not supported in compiled code}}
    %y = onnx.node "Gelu"(%x) {result_names = ["y"]} : (tensor<?x4xf32, #onnx.dims<"n", "">>) -> tensor<?x4xf32, #onnx.dims<"n", "">>
    onnx.return {output_names = ["y"]} %y : tensor<?x4xf32, #onnx.dims<"n", "">>
  } {input_names = ["x"]}
}

// -----

// Axes decide the result's rank.
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @axes (%x: tensor<?x4xf32, #onnx.dims<"n", "">>, %a: tensor<1xi64>) {
    // expected-error @below {{ReduceSum node 'y': axes must be constant}}
    %y = onnx.node "ReduceSum"(%x, %a) {result_names = ["y"]} : (tensor<?x4xf32, #onnx.dims<"n", "">>, tensor<1xi64>) -> tensor<*xf32>
    onnx.return {output_names = ["y"]} %y : tensor<*xf32>
  } {input_names = ["x", "a"]}
}

// -----

// Products in f64.
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @product (%x: tensor<4x4xf64>) {
    // expected-error @below {{products are compiled for}}
    %y = onnx.node "MatMul"(%x, %x) {result_names = ["y"]} : (tensor<4x4xf64>, tensor<4x4xf64>) -> tensor<4x4xf64>
    onnx.return {output_names = ["y"]} %y : tensor<4x4xf64>
  } {input_names = ["x"]}
}

// -----

// Sizes that can never be equal.
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @broadcast (%x: tensor<3xf32>, %y: tensor<4xf32>) {
    // expected-error @below {{Add node 'z': sizes 3 and 4 cannot be broadcast to each other}}
    %z = onnx.node "Add"(%x, %y) {result_names = ["z"]} : (tensor<3xf32>, tensor<4xf32>) -> tensor<?xf32>
    onnx.return {output_names = ["z"]} %z : tensor<?xf32>
  } {input_names = ["x", "y"]}
}

// -----

// A result that only training has.
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @training (%x: tensor<2x3x4xf32>) {
    %s = adapter.parameter "base"::"s" : tensor<3xf32>
    // expected-error @below {{BatchNormalization node 'y': training mode is not supported}}
    %y, %m, %v = onnx.node "BatchNormalization"(%x, %s, %s, %s, %s) {node_attributes = {training_mode = 1 : i64}, result_names = ["y", "m", "v"]} : (tensor<2x3x4xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) -> (tensor<2x3x4xf32>, tensor<3xf32>, tensor<3xf32>)
    onnx.return {output_names = ["y"]} %y : tensor<2x3x4xf32>
  } {input_names = ["x"]}
}

// -----

// Neither a shape nor an element type.
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  // expected-error @below {{value 'x' of type 'tensor<2x!onnx.string>' cannot be compiled: tensors of known rank and numeric type are needed}}
  onnx.graph @strings (%x: tensor<2x!onnx.string>) {
    %y = onnx.node "Identity"(%x) {result_names = ["y"]} : (tensor<2x!onnx.string>) -> tensor<2x!onnx.string>
    onnx.return {output_names = ["y"]} %y : tensor<2x!onnx.string>
  } {input_names = ["x"]}
}

// -----

// An axis beyond the rank.
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @axis (%x: tensor<?x4xf32, #onnx.dims<"n", "">>) {
    // expected-error @below {{Softmax node 'y': axis 2 is outside a tensor of rank 2}}
    %y = onnx.node "Softmax"(%x) {node_attributes = {axis = 2 : i64}, result_names = ["y"]} : (tensor<?x4xf32, #onnx.dims<"n", "">>) -> tensor<?x4xf32, #onnx.dims<"n", "">>
    onnx.return {output_names = ["y"]} %y : tensor<?x4xf32, #onnx.dims<"n", "">>
  } {input_names = ["x"]}
}
