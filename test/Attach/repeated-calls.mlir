// REQUIRES: onnx
// RUN: %make-adapter %s %t.lora
// RUN: adapter-opt %s --adapter x=%t.lora | FileCheck %s
// ADAPTER
// {"tensors": {"layer.q.lora_A.weight": [2, 4], "layer.q.lora_B.weight": [4, 2],
//              "layer.p.lora_A.weight": [2, 4], "layer.p.lora_B.weight": [4, 2],
//              "norm.weight": [4]}, "config": {"modules_to_save": ["norm"]}}
// END

// The TorchScript exporter numbers the calls of a module that runs several times: all take its update, the
// equal matrix of another module does not.
// CHECK-LABEL: onnx.model @m
onnx.model @m attributes {ir_version = 9 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @main (%x: tensor<?x4xf32>) {
    // CHECK: %[[Q:.*]] = adapter.parameter "base"::"val_1"
    // CHECK: %[[QX:.*]] = adapter.materialize %[[Q]]
    // CHECK: %[[N:.*]] = adapter.parameter "base"::"norm.weight"
    // CHECK: %[[NX:.*]] = adapter.materialize %[[N]]
    %q = adapter.parameter "base"::"val_1" : tensor<4x4xf32>
    %n = adapter.parameter "base"::"norm.weight" : tensor<4xf32>
    // CHECK: "Identity"(%[[QX]])
    // CHECK: "Identity"(%[[Q]])
    // CHECK: "Identity"(%[[N]])
    %q1 = onnx.node "Identity"(%q) {result_names = ["q1"]} : (tensor<4x4xf32>) -> tensor<4x4xf32>
    %q2 = onnx.node "Identity"(%q) {result_names = ["q2"]} : (tensor<4x4xf32>) -> tensor<4x4xf32>
    %n1 = onnx.node "Identity"(%n) {result_names = ["n1"]} : (tensor<4xf32>) -> tensor<4xf32>
    // CHECK: "MatMul"(%{{.*}}, %[[QX]]) {node_name = "/layer/q/MatMul"
    %0 = onnx.node "MatMul"(%x, %q) {node_name = "/layer/q/MatMul", result_names = ["0"]} : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
    %1 = onnx.node "MatMul"(%0, %q1) {node_name = "/layer/q_1/MatMul", result_names = ["1"]} : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
    %2 = onnx.node "MatMul"(%1, %q2) {node_name = "/layer/k/MatMul", result_names = ["2"]} : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
    // Of two vectors that an exporter merged only the named one changes; a module's own is read directly.
    // CHECK: "Mul"(%{{.*}}, %[[NX]]) {node_name = "/norm/Mul"
    // CHECK: "Mul"(%{{.*}}, %[[NX]]) {node_name = "/norm_1/Mul"
    // CHECK: "Mul"(%{{.*}}, %{{.*}}) {node_name = "/norm_2/Mul"
    %3 = onnx.node "Mul"(%2, %n) {node_name = "/norm/Mul", result_names = ["3"]} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
    %4 = onnx.node "Mul"(%3, %n) {node_name = "/norm_1/Mul", result_names = ["4"]} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
    %5 = onnx.node "Mul"(%4, %n1) {node_name = "/norm_2/Mul", result_names = ["5"]} : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
    onnx.return {output_names = ["5"]} %5 : tensor<?x4xf32>
  } {input_names = ["x"]}
}

// A module's bias that the exporter merged with others' is read by way of one Identity, however often the module runs.
// CHECK-LABEL: onnx.model @merged
onnx.model @merged attributes {ir_version = 9 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @main (%x: tensor<?x4xf32>) {
    // CHECK: %[[P:.*]] = adapter.parameter "base"::"val_2"
    // CHECK: %[[PX:.*]] = adapter.materialize %[[P]]
    %p = adapter.parameter "base"::"val_2" : tensor<4x4xf32>
    %z = adapter.parameter "base"::"zeros" : tensor<4xf32>
    %b = onnx.node "Identity"(%z) {result_names = ["layer.p.bias"]} : (tensor<4xf32>) -> tensor<4xf32>
    // CHECK: "MatMul"(%{{.*}}, %[[PX]]) {node_name = "/layer/p/MatMul"
    // CHECK: "MatMul"(%{{.*}}, %[[PX]]) {node_name = "/layer/p_1/MatMul"
    %0 = onnx.node "MatMul"(%x, %p) {node_name = "/layer/p/MatMul", result_names = ["0"]} : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
    %1 = onnx.node "Add"(%b, %0) {node_name = "/layer/p/Add", result_names = ["1"]} : (tensor<4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
    %2 = onnx.node "MatMul"(%1, %p) {node_name = "/layer/p_1/MatMul", result_names = ["2"]} : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
    %3 = onnx.node "Add"(%b, %2) {node_name = "/layer/p_1/Add", result_names = ["3"]} : (tensor<4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
    onnx.return {output_names = ["3"]} %3 : tensor<?x4xf32>
  } {input_names = ["x"]}
}
