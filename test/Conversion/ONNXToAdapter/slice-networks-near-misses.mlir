// RUN: adapter-opt %s --split-input-file --adapter-slice-networks=slices=2 | FileCheck %s --implicit-check-not=adapter.experts

// Nothing between the products; what is between them is read elsewhere; weights that the call brings.
// CHECK-LABEL: onnx.graph @linear
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @linear (%x: tensor<?x4xf32, #onnx.dims<"t", "">>, %z: tensor<4x6xf32>) {
    %w = adapter.parameter "base"::"w" : tensor<4x6xf32>
    %v = adapter.parameter "base"::"v" : tensor<6x4xf32>
    %0 = onnx.node "MatMul"(%x, %w) {node_name = "a", result_names = ["0"]} : (tensor<?x4xf32, #onnx.dims<"t", "">>, tensor<4x6xf32>) -> tensor<?x6xf32>
    %1 = onnx.node "MatMul"(%0, %v) {node_name = "b", result_names = ["1"]} : (tensor<?x6xf32>, tensor<6x4xf32>) -> tensor<?x4xf32>
    %2 = onnx.node "Relu"(%0) {node_name = "c", result_names = ["2"]} : (tensor<?x6xf32>) -> tensor<?x6xf32>
    %3 = onnx.node "MatMul"(%2, %v) {node_name = "d", result_names = ["3"]} : (tensor<?x6xf32>, tensor<6x4xf32>) -> tensor<?x4xf32>
    %4 = onnx.node "MatMul"(%x, %z) {node_name = "e", result_names = ["4"]} : (tensor<?x4xf32, #onnx.dims<"t", "">>, tensor<4x6xf32>) -> tensor<?x6xf32>
    %5 = onnx.node "Relu"(%4) {node_name = "f", result_names = ["5"]} : (tensor<?x6xf32>) -> tensor<?x6xf32>
    %6 = onnx.node "MatMul"(%5, %v) {node_name = "g", result_names = ["6"]} : (tensor<?x6xf32>, tensor<6x4xf32>) -> tensor<?x4xf32>
    onnx.return {output_names = ["1", "2", "3", "6"]} %1, %2, %3, %6 : tensor<?x4xf32>, tensor<?x6xf32>, tensor<?x4xf32>, tensor<?x4xf32>
  } {input_names = ["x", "z"]}
}

// -----

// An adapter that comes later acts on the first product.
// CHECK-LABEL: onnx.graph @adapted
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @adapted (%x: tensor<?x4xf32, #onnx.dims<"t", "">>) {
    %w = adapter.parameter "base"::"w" : tensor<4x6xf32>
    %v = adapter.parameter "base"::"v" : tensor<6x4xf32>
    %a = adapter.parameter "l"::"a" : tensor<4x6xf32>
    %u = adapter.dense %a : tensor<4x6xf32> -> !adapter.update<tensor<4x6xf32>>
    %n = adapter.materialize %w, %u : tensor<4x6xf32>
    %0 = onnx.node "MatMul"(%x, %n) {node_name = "a", result_names = ["0"]} : (tensor<?x4xf32, #onnx.dims<"t", "">>, tensor<4x6xf32>) -> tensor<?x6xf32>
    %1 = onnx.node "Relu"(%0) {node_name = "b", result_names = ["1"]} : (tensor<?x6xf32>) -> tensor<?x6xf32>
    %2 = onnx.node "MatMul"(%1, %v) {node_name = "c", result_names = ["y"]} : (tensor<?x6xf32>, tensor<6x4xf32>) -> tensor<?x4xf32>
    onnx.return {output_names = ["y"]} %2 : tensor<?x4xf32>
  } {input_names = ["x"]}
}
