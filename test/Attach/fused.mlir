// REQUIRES: onnx
// RUN: %make-adapter %s %t.lora
// RUN: adapter-opt %s --adapter x=%t.lora --check | FileCheck %s --check-prefix=TABLE
// RUN: adapter-opt %s --adapter x=%t.lora | FileCheck %s
// ADAPTER
// {"tensors": {"layers.0.self_attn.q_proj.lora_A.weight": [2, 4], "layers.0.self_attn.q_proj.lora_B.weight": [4, 2],
//              "layers.0.self_attn.v_proj.lora_A.weight": [2, 4], "layers.0.self_attn.v_proj.lora_B.weight": [2, 2],
//              "layers.0.mlp.up_proj.lora_A.weight": [2, 4], "layers.0.mlp.up_proj.lora_B.weight": [3, 2],
//              "layers.0.self_attn.o_proj.lora_A.weight": [2, 8], "layers.0.self_attn.o_proj.lora_B.weight": [4, 2]}}
// END

// As graph builders name and fuse modules: each update acts in its outputs of one weight, as one low-rank update.
// TABLE: layers.0.self_attn.o_proj {{.*}} /model/layers.0/attn/o_proj/MatMul
// TABLE: layers.0.mlp.up_proj {{.*}} /model/layers.0/mlp/gate_up_proj/MatMul {{ *}}names {{ *}}outputs 3 to 5
// TABLE: layers.0.self_attn.q_proj {{.*}} lora {{ *}}2 {{.*}} outputs 0 to 3
// TABLE: layers.0.self_attn.v_proj {{.*}} lora {{ *}}2 {{.*}} outputs 6 to 7
// CHECK-LABEL: onnx.model @m
onnx.model @m attributes {ir_version = 9 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @main (%x: tensor<?x4xf32>) {
    // CHECK-DAG: "model.layers.0.attn.qkv_proj.weight.lora.A" : tensor<4x4xf32>
    // CHECK-DAG: "model.layers.0.attn.qkv_proj.weight.lora.B" : tensor<8x4xf32>
    // CHECK-DAG: "model.layers.0.mlp.gate_up_proj.weight.lora.B" : tensor<6x2xf32>
    // CHECK-DAG: "layers.0.self_attn.o_proj.weight.lora.A" : tensor<2x8xf32>
    %qkv = adapter.parameter "base"::"model.layers.0.attn.qkv_proj.MatMul.weight" : tensor<4x8xf32>
    %o = adapter.parameter "base"::"model.layers.0.attn.o_proj.MatMul.weight" : tensor<8x4xf32>
    %gu = adapter.parameter "base"::"model.layers.0.mlp.gate_up_proj.MatMul.weight" : tensor<4x6xf32>
    %0 = onnx.node "MatMul"(%x, %qkv) {node_name = "/model/layers.0/attn/qkv_proj/MatMul", result_names = ["0"]} : (tensor<?x4xf32>, tensor<4x8xf32>) -> tensor<?x8xf32>
    %1 = onnx.node "MatMul"(%0, %o) {node_name = "/model/layers.0/attn/o_proj/MatMul", result_names = ["1"]} : (tensor<?x8xf32>, tensor<8x4xf32>) -> tensor<?x4xf32>
    %2 = onnx.node "MatMul"(%1, %gu) {node_name = "/model/layers.0/mlp/gate_up_proj/MatMul", result_names = ["2"]} : (tensor<?x4xf32>, tensor<4x6xf32>) -> tensor<?x6xf32>
    onnx.return {output_names = ["2"]} %2 : tensor<?x6xf32>
  } {input_names = ["x"]}
}
