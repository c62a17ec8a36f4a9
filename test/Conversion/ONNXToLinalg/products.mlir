// RUN: adapter-opt %s --split-input-file --convert-onnx-to-linalg --canonicalize --cse | FileCheck %s

// A product with a parameter reads it packed in blocks of columns; packing is for the build to evaluate.
// CHECK-LABEL: func.func @linear
// CHECK: %[[W:.*]] = kernel.parameter 0 : tensor<4x8xf32>
// CHECK: %[[P:.*]] = kernel.pack ins(%[[W]] : tensor<4x8xf32>) outs(%{{.*}} : tensor<1x4x32xf32>)
// CHECK: %[[X:.*]] = kernel.reshape %{{.*}} : tensor<?x?x4xf32> to tensor<?x4xf32>
// CHECK: kernel.linear ins(%[[X]], %[[P]] : tensor<?x4xf32>, tensor<1x4x32xf32>)
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @linear (%x: tensor<?x?x4xf32, #onnx.dims<"n", "s", "">>) {
    %w = adapter.parameter "base"::"w" : tensor<4x8xf32>
    %y = onnx.node "MatMul"(%x, %w) {result_names = ["y"]} : (tensor<?x?x4xf32, #onnx.dims<"n", "s", "">>, tensor<4x8xf32>) -> tensor<?x?x8xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x?x8xf32>
  } {input_names = ["x"]}
}

// -----

// CHECK-LABEL: func.func @gemm
// CHECK: kernel.pack {{.*}} {transposed}
// CHECK: kernel.linear ins(%{{.*}}, %{{.*}}, %{{.*}} : tensor<?x4xf32>, tensor<1x4x32xf32>, tensor<8xf32>)
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @gemm (%x: tensor<?x4xf32, #onnx.dims<"n", "">>) {
    %w = adapter.parameter "base"::"w" : tensor<8x4xf32>
    %b = adapter.parameter "base"::"b" : tensor<8xf32>
    %y = onnx.node "Gemm"(%x, %w, %b) {node_attributes = {transB = 1 : i64}, result_names = ["y"]} : (tensor<?x4xf32, #onnx.dims<"n", "">>, tensor<8x4xf32>, tensor<8xf32>) -> tensor<?x8xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x8xf32>
  } {input_names = ["x"]}
}

// -----

// Two activations: nothing is packed.
// CHECK-LABEL: func.func @attention
// CHECK-NOT: kernel.pack
// CHECK: kernel.batch_matmul ins(%{{.*}}, %{{.*}} : tensor<?x?x4xf32>, tensor<?x4x?xf32>)
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @attention (%q: tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>, %k: tensor<?x4x?xf32, #onnx.dims<"b", "", "t">>) {
    %y = onnx.node "MatMul"(%q, %k) {result_names = ["y"]} : (tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>, tensor<?x4x?xf32, #onnx.dims<"b", "", "t">>) -> tensor<?x?x?xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x?x?xf32>
  } {input_names = ["q", "k"]}
}
