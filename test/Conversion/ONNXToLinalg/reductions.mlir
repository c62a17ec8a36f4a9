// RUN: adapter-opt %s --split-input-file --convert-onnx-to-linalg --canonicalize --cse | FileCheck %s

// CHECK-LABEL: func.func @sum
// CHECK: linalg.generic {{.*}} iterator_types = ["parallel", "parallel", "reduction"]
// CHECK: arith.addf
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @sum (%x: tensor<?x?x4xf32, #onnx.dims<"n", "s", "">>) {
    %axes = adapter.parameter "base"::"axes" = dense<[-1]> : tensor<1xi64>
    %y = onnx.node "ReduceSum"(%x, %axes) {node_attributes = {keepdims = 0 : i64}, result_names = ["y"]} : (tensor<?x?x4xf32, #onnx.dims<"n", "s", "">>, tensor<1xi64>) -> tensor<?x?xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x?xf32>
  } {input_names = ["x"]}
}

// -----

// The count is known in the call only.
// CHECK-LABEL: func.func @mean
// CHECK: %[[N:.*]] = tensor.dim
// CHECK: arith.addf
// CHECK: arith.index_cast
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @mean (%x: tensor<?x4xf32, #onnx.dims<"n", "">>) {
    %axes = adapter.parameter "base"::"axes" = dense<[0]> : tensor<1xi64>
    %y = onnx.node "ReduceMean"(%x, %axes) {result_names = ["y"]} : (tensor<?x4xf32, #onnx.dims<"n", "">>, tensor<1xi64>) -> tensor<1x4xf32>
    onnx.return {output_names = ["y"]} %y : tensor<1x4xf32>
  } {input_names = ["x"]}
}

// -----

// CHECK-LABEL: func.func @argmax
// CHECK-SAME: -> tensor<?xi64>
// CHECK: arith.cmpf
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @argmax (%x: tensor<?x4xf32, #onnx.dims<"n", "">>) {
    %y = onnx.node "ArgMax"(%x) {node_attributes = {axis = 1 : i64, keepdims = 0 : i64}, result_names = ["y"]} : (tensor<?x4xf32, #onnx.dims<"n", "">>) -> tensor<?xi64>
    onnx.return {output_names = ["y"]} %y : tensor<?xi64>
  } {input_names = ["x"]}
}
