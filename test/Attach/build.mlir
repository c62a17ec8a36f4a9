// REQUIRES: onnx
// RUN: %make-adapter %s %t.lora
// RUN: adapter-opt %s --adapter x=%t.lora:scale=0.5 | FileCheck %s
// ADAPTER
// {"config": {"r": 2, "lora_alpha": 6, "bias": "lora_only"},
//  "tensors": {"layer.q.lora_A.weight": [2, 4], "layer.q.lora_B.weight": [3, 2], "layer.q.base_layer.bias": [3],
//              "layer.g.lora_A.weight": [2, 3], "layer.g.lora_B.weight": [4, 2], "layer.g.base_layer.bias": [4],
//              "layer.k.lora_A.weight": [2, 3], "layer.k.lora_B.weight": [4, 2], "layer.k.base_layer.bias": [4]}}
// END

// CHECK-LABEL: onnx.graph @main
onnx.model @m attributes {ir_version = 9 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @main (%x: tensor<?x4xf32>) {
    // A MatMul's weight is [in, out]; the update acts between it and its reader.
    // CHECK: %[[Q:.*]] = adapter.parameter "base"::"val_1" : tensor<4x3xf32>
    // CHECK: %[[A:.*]] = adapter.parameter "x"::"layer.q.weight.lora.A" : tensor<2x4xf32>
    // CHECK: %[[S:.*]] = arith.constant 1.500000e+00 : f64
    // CHECK: %[[V:.*]] = adapter.apply @lora at <linear>(%[[A]], %{{.*}}) ["A", "B"] scalars(%[[S]]) ["scale"]{{.*}} : (tensor<2x4xf32>, tensor<3x2xf32>) -> !adapter.update<tensor<3x4xf32>>
    // CHECK: %[[T:.*]] = adapter.transpose %[[V]] [1, 0]
    // CHECK: %[[NEW:.*]] = adapter.materialize %[[Q]], %[[T]] : tensor<4x3xf32>
    %q = adapter.parameter "base"::"val_1" : tensor<4x3xf32>
    // The bias is shared with another module, which keeps it.
    // CHECK: %[[B:.*]] = adapter.parameter "base"::"zeros" : tensor<3xf32>
    // CHECK: %[[R:.*]] = adapter.apply @replace at <vector>
    // CHECK: %[[ROW:.*]] = adapter.reshape %[[R]] vector
    // CHECK: %[[NEWB:.*]] = adapter.materialize %[[B]], %[[ROW]] : tensor<3xf32>
    %b = adapter.parameter "base"::"zeros" : tensor<3xf32>
    // Gemm with transB: as it is; a bias that the graph lacks becomes an operand.
    // CHECK-DAG: %[[G:.*]] = adapter.parameter "base"::"layer.g.weight" : tensor<4x3xf32>
    // CHECK-DAG: %[[ZEROS:.*]] = adapter.parameter "base"::"layer.g.bias" : tensor<4xf32>
    %g = adapter.parameter "base"::"layer.g.weight" : tensor<4x3xf32>
    %k = adapter.parameter "base"::"val_2" : tensor<3x4xf32>
    // CHECK: %[[Y:.*]] = onnx.node "MatMul"(%{{.*}}, %[[NEW]])
    %0 = onnx.node "MatMul"(%x, %q) {node_name = "/layer/q/MatMul", result_names = ["0"]} : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
    // CHECK: onnx.node "Add"(%[[NEWB]], %[[Y]])
    %1 = onnx.node "Add"(%b, %0) {node_name = "/layer/q/Add", result_names = ["1"]} : (tensor<3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
    // CHECK: onnx.node "Add"(%[[B]],
    %2 = onnx.node "Add"(%b, %1) {node_name = "/layer/other/Add", result_names = ["2"]} : (tensor<3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
    // CHECK: onnx.node "Gemm"(%{{.*}}, %{{.*}}, %{{.*}}) {{.*}} (tensor<?x3xf32>, tensor<4x3xf32>, tensor<4xf32>)
    %3 = onnx.node "Gemm"(%2, %g) {metadata = ["pkg.torch.onnx.name_scopes", "['', 'layer', 'layer.g', 'linear']"], node_attributes = {transB = 1 : i64}, result_names = ["3"]} : (tensor<?x3xf32>, tensor<4x3xf32>) -> tensor<?x4xf32>
    // A MatMul without a bias gets an Add.
    // CHECK: %[[K:.*]] = onnx.node "MatMul"
    %4 = onnx.node "MatMul"(%2, %k) {node_name = "/layer/k/MatMul", result_names = ["4"]} : (tensor<?x3xf32>, tensor<3x4xf32>) -> tensor<?x4xf32>
    // CHECK: %[[KB:.*]] = onnx.node "Add"(%[[K]], %{{.*}}) {node_name = "/layer/k/MatMul_bias"
    // CHECK: onnx.return {{.*}} %{{.*}}, %[[KB]]
    onnx.return {output_names = ["3", "4"]} %3, %4 : tensor<?x4xf32>, tensor<?x4xf32>
  } {input_names = ["x"]}
}
