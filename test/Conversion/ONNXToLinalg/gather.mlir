// RUN: adapter-opt %s --split-input-file --convert-onnx-to-linalg --canonicalize --cse | FileCheck %s

// Negative indices count from the end; what is out of range stops the call.
// CHECK-LABEL: func.func @rows
// CHECK: linalg.generic
// CHECK: arith.select
// CHECK: tensor.extract
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @rows (%i: tensor<?xi64>) {
    %w = adapter.parameter "base"::"w" : tensor<9x4xf32>
    %y = onnx.node "Gather"(%w, %i) {result_names = ["y"]} : (tensor<9x4xf32>, tensor<?xi64>) -> tensor<?x4xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x4xf32>
  } {input_names = ["i"]}
}
