// REQUIRES: onnx
// RUN: %make-adapter %s %t.hub
// RUN: adapter-opt %s --adapter x=%t.hub@row | FileCheck %s
// RUN: adapter-opt %s --adapter x=%t.hub@row --convert-onnx-to-linalg | FileCheck %s --check-prefix=LINALG
// ADAPTER
// {"hub": {"output_adapter": true, "reduction_factor": 2, "non_linearity": "relu", "scaling": 2.0, "is_parallel": true},
//  "tensors": {"encoder.layer.0.output.adapters.x.adapter_down.0.weight": [2, 4],
//              "encoder.layer.0.output.adapters.x.adapter_down.0.bias": [2],
//              "encoder.layer.0.output.adapters.x.adapter_up.weight": [4, 2],
//              "encoder.layer.0.output.adapters.x.adapter_up.bias": [4]}}
// END

// Sites of all models end up in one module, where one adapter names them: their names differ.
// CHECK: onnx.model @m
// CHECK: adapter.resident "x" at <row>
// CHECK-NEXT: adapter.resident_update @site_0 #adapter.bottleneck<relu> rank 2 scale 2.000000e+00
// CHECK: adapter.site @site_0 {{.*}}graph = "m"
// CHECK: onnx.model @n
// CHECK: adapter.resident "x" at <row>
// CHECK-NEXT: adapter.resident_update @site_1 #adapter.bottleneck<relu>
// CHECK: adapter.site @site_1 {{.*}}graph = "n"
// LINALG: adapter.resident "x" at <row>
// LINALG-NEXT: adapter.resident_update @site_0
// LINALG-NEXT: adapter.resident_update @site_1
// LINALG-NOT: adapter.resident "x"
onnx.model @m attributes {ir_version = 9 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @m_main (%x: tensor<?x?x4xf32>) {
    %w = adapter.parameter "base"::"w" = dense<1.0> : tensor<4x4xf32> : tensor<4x4xf32>
    %t = onnx.node "Relu"(%x) {node_name = "/embeddings/Relu", result_names = ["t"]} : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
    %h = onnx.node "MatMul"(%t, %w) {node_name = "/encoder/layer.0/output/dense/MatMul", result_names = ["h"]} : (tensor<?x?x4xf32>, tensor<4x4xf32>) -> tensor<?x?x4xf32>
    %sum = onnx.node "Add"(%h, %t) {node_name = "/encoder/layer.0/output/Add", result_names = ["sum"]} : (tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
    onnx.return {output_names = ["n"]} %sum : tensor<?x?x4xf32>
  } {input_names = ["x"]}
}

onnx.model @n attributes {ir_version = 9 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @n_main (%x: tensor<?x?x4xf32>) {
    %w = adapter.parameter "base"::"w" = dense<1.0> : tensor<4x4xf32> : tensor<4x4xf32>
    %t = onnx.node "Relu"(%x) {node_name = "/embeddings/Relu", result_names = ["t"]} : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
    %h = onnx.node "MatMul"(%t, %w) {node_name = "/encoder/layer.0/output/dense/MatMul", result_names = ["h"]} : (tensor<?x?x4xf32>, tensor<4x4xf32>) -> tensor<?x?x4xf32>
    %sum = onnx.node "Add"(%h, %t) {node_name = "/encoder/layer.0/output/Add", result_names = ["sum"]} : (tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
    onnx.return {output_names = ["n"]} %sum : tensor<?x?x4xf32>
  } {input_names = ["x"]}
}
