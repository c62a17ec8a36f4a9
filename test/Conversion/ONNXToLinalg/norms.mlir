// RUN: adapter-opt %s --split-input-file --convert-onnx-to-linalg --canonicalize --cse | FileCheck %s

// The largest is subtracted first.
// CHECK-LABEL: func.func @softmax
// CHECK: arith.maximumf
// CHECK: arith.subf
// CHECK: math.exp
// CHECK: arith.addf
// CHECK: arith.divf
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @softmax (%x: tensor<?x4xf32, #onnx.dims<"n", "">>) {
    %y = onnx.node "Softmax"(%x) {result_names = ["y"]} : (tensor<?x4xf32, #onnx.dims<"n", "">>) -> tensor<?x4xf32, #onnx.dims<"n", "">>
    onnx.return {output_names = ["y"]} %y : tensor<?x4xf32, #onnx.dims<"n", "">>
  } {input_names = ["x"]}
}

// -----

// CHECK-LABEL: func.func @layer_norm
// CHECK-DAG: kernel.parameter 0 : tensor<4xf32>
// CHECK-DAG: kernel.parameter 1 : tensor<4xf32>
// CHECK: arith.addf
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @layer_norm (%x: tensor<?x4xf32, #onnx.dims<"n", "">>) {
    %w = adapter.parameter "base"::"w" : tensor<4xf32>
    %b = adapter.parameter "base"::"b" : tensor<4xf32>
    %y = onnx.node "LayerNormalization"(%x, %w, %b) {result_names = ["y"]} : (tensor<?x4xf32, #onnx.dims<"n", "">>, tensor<4xf32>, tensor<4xf32>) -> tensor<?x4xf32, #onnx.dims<"n", "">>
    onnx.return {output_names = ["y"]} %y : tensor<?x4xf32, #onnx.dims<"n", "">>
  } {input_names = ["x"]}
}
