// RUN: adapter-opt %s --split-input-file --convert-onnx-to-linalg --canonicalize --cse | FileCheck %s

// CHECK-LABEL: func.func @transpose
// CHECK-SAME: -> tensor<4x?x?xf32>
// CHECK: return %{{.*}} : tensor<4x?x?xf32>
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @transpose (%x: tensor<?x?x4xf32, #onnx.dims<"n", "s", "">>) {
    %y = onnx.node "Transpose"(%x) {node_attributes = {perm = array<i64: 2, 0, 1>}, result_names = ["y"]} : (tensor<?x?x4xf32, #onnx.dims<"n", "s", "">>) -> tensor<4x?x?xf32>
    onnx.return {output_names = ["y"]} %y : tensor<4x?x?xf32>
  } {input_names = ["x"]}
}

// -----

// CHECK-LABEL: func.func @concat
// CHECK: arith.addi
// CHECK-COUNT-2: tensor.insert_slice
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @concat (%x: tensor<?x4xf32, #onnx.dims<"n", "">>, %y: tensor<?x4xf32, #onnx.dims<"m", "">>) {
    %z = onnx.node "Concat"(%x, %y) {node_attributes = {axis = 0 : i64}, result_names = ["z"]} : (tensor<?x4xf32, #onnx.dims<"n", "">>, tensor<?x4xf32, #onnx.dims<"m", "">>) -> tensor<?x4xf32>
    onnx.return {output_names = ["z"]} %z : tensor<?x4xf32>
  } {input_names = ["x", "y"]}
}

// -----

// CHECK-LABEL: func.func @split
// CHECK-SAME: (%[[X:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK-COUNT-2: tensor.extract %[[X]]
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @split (%x: tensor<?x4xf32, #onnx.dims<"n", "">>) {
    %a, %b = onnx.node "Split"(%x) {node_attributes = {axis = 1 : i64, num_outputs = 2 : i64}, result_names = ["a", "b"]} : (tensor<?x4xf32, #onnx.dims<"n", "">>) -> (tensor<?x2xf32>, tensor<?x2xf32>)
    onnx.return {output_names = ["a", "b"]} %a, %b : tensor<?x2xf32>, tensor<?x2xf32>
  } {input_names = ["x"]}
}

// -----

// CHECK-LABEL: func.func @slice
// CHECK-SAME: (%[[X:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK: linalg.index 1
// CHECK: arith.addi
// CHECK: tensor.extract %[[X]]
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @slice (%x: tensor<?x4xf32, #onnx.dims<"n", "">>) {
    %b = adapter.parameter "base"::"b" = dense<[1]> : tensor<1xi64>
    %e = adapter.parameter "base"::"e" = dense<[-1]> : tensor<1xi64>
    %a = adapter.parameter "base"::"a" = dense<[1]> : tensor<1xi64>
    %y = onnx.node "Slice"(%x, %b, %e, %a) {result_names = ["y"]} : (tensor<?x4xf32, #onnx.dims<"n", "">>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<?x2xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x2xf32>
  } {input_names = ["x"]}
}
