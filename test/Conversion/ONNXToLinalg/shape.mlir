// RUN: adapter-opt %s --split-input-file --convert-onnx-to-linalg --canonicalize --cse | FileCheck %s

// Shapes are scalars: no tensor of them is made, and -1 of a reshape is divided out.
// CHECK-LABEL: func.func @flatten_by_shape
// CHECK-NOT: linalg.generic
// CHECK-NOT: tensor<{{[0-9]}}xi64>
// CHECK: kernel.reshape %{{.*}}[%{{.*}}, %{{.*}}] : tensor<?x?x4xf32> to tensor<?x?xf32>
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @flatten_by_shape (%x: tensor<?x?x4xf32, #onnx.dims<"n", "s", "">>) {
    %s = onnx.node "Shape"(%x) {node_attributes = {end = 1 : i64}, result_names = ["s"]} : (tensor<?x?x4xf32, #onnx.dims<"n", "s", "">>) -> tensor<1xi64>
    %k = adapter.parameter "base"::"k" = dense<[-1]> : tensor<1xi64>
    %t = onnx.node "Concat"(%s, %k) {node_attributes = {axis = 0 : i64}, result_names = ["t"]} : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
    %y = onnx.node "Reshape"(%x, %t) {result_names = ["y"]} : (tensor<?x?x4xf32, #onnx.dims<"n", "s", "">>, tensor<2xi64>) -> tensor<?x?xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x?xf32>
  } {input_names = ["x"]}
}

// -----

// CHECK-LABEL: func.func @unsqueeze
// CHECK: %[[N:.*]] = tensor.dim
// CHECK: kernel.reshape %{{.*}}[%[[N]]] : tensor<?x4xf32> to tensor<?x1x4xf32>
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @unsqueeze (%x: tensor<?x4xf32, #onnx.dims<"n", "">>) {
    %axes = adapter.parameter "base"::"axes" = dense<[1]> : tensor<1xi64>
    %y = onnx.node "Unsqueeze"(%x, %axes) {result_names = ["y"]} : (tensor<?x4xf32, #onnx.dims<"n", "">>, tensor<1xi64>) -> tensor<?x1x4xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x1x4xf32>
  } {input_names = ["x"]}
}

// -----

// CHECK-LABEL: func.func @expand
// CHECK: %[[N:.*]] = tensor.dim %{{.*}}, %{{.*}} : tensor<?x4xf32>
// CHECK: tensor.empty(%[[N]]) : tensor<?x4xf32>
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @expand (%x: tensor<1x4xf32>, %y: tensor<?x4xf32, #onnx.dims<"n", "">>) {
    %s = onnx.node "Shape"(%y) {result_names = ["s"]} : (tensor<?x4xf32, #onnx.dims<"n", "">>) -> tensor<2xi64>
    %z = onnx.node "Expand"(%x, %s) {result_names = ["z"]} : (tensor<1x4xf32>, tensor<2xi64>) -> tensor<?x4xf32>
    onnx.return {output_names = ["z"]} %z : tensor<?x4xf32>
  } {input_names = ["x", "y"]}
}
