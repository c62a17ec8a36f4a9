// RUN: adapter-opt %s --split-input-file --convert-onnx-to-linalg --canonicalize --cse | FileCheck %s

// CHECK-LABEL: func.func @patches
// CHECK-SAME: -> tensor<?x16x2x2xf32>
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @patches (%x: tensor<?x3x8x8xf32, #onnx.dims<"n", "", "", "">>) {
    %w = adapter.parameter "base"::"w" : tensor<16x3x4x4xf32>
    %y = onnx.node "Conv"(%x, %w) {node_attributes = {kernel_shape = array<i64: 4, 4>, strides = array<i64: 4, 4>}, result_names = ["y"]} : (tensor<?x3x8x8xf32, #onnx.dims<"n", "", "", "">>, tensor<16x3x4x4xf32>) -> tensor<?x16x2x2xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x16x2x2xf32>
  } {input_names = ["x"]}
}

// -----

// CHECK-LABEL: func.func @max_pool
// CHECK-SAME: -> tensor<?x3x4x4xf32>
// CHECK: arith.maximumf
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @max_pool (%x: tensor<?x3x8x8xf32, #onnx.dims<"n", "", "", "">>) {
    %y = onnx.node "MaxPool"(%x) {node_attributes = {kernel_shape = array<i64: 2, 2>, strides = array<i64: 2, 2>}, result_names = ["y"]} : (tensor<?x3x8x8xf32, #onnx.dims<"n", "", "", "">>) -> tensor<?x3x4x4xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x3x4x4xf32>
  } {input_names = ["x"]}
}
