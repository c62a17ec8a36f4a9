// REQUIRES: onnx
// RUN: %make-adapter %s %t.lora
// RUN: adapter-opt %s --adapter x=%t.lora --ignore-missing 'decoder.*' --check | FileCheck %s --check-prefix=TABLE
// RUN: adapter-opt %s --adapter x=%t.lora --ignore-missing 'decoder.*' | FileCheck %s
// RUN: not adapter-opt %s --adapter x=%t.lora --check 2>&1 | FileCheck %s --check-prefix=TWINS
// RUN: adapter-opt %s --adapter x=%t.lora --map 'decoder.*=*' --ignore-missing 'encoder.*' --check | FileCheck %s --check-prefix=MAP
// RUN: not adapter-opt %s --adapter x=%t.lora --map 'none=other' --check 2>&1 | FileCheck %s --check-prefix=UNUSED
// RUN: not adapter-opt %s --adapter x=%t.lora --ignore-missing 'decoder.*' --require-proof --check 2>&1 | FileCheck %s --check-prefix=PROOF
// ADAPTER
// {"tensors": {"encoder.q.lora_A.weight": [2, 4], "encoder.q.lora_B.weight": [4, 2],
//              "decoder.q.lora_A.weight": [2, 4], "decoder.q.lora_B.weight": [4, 2],
//              "encoder.k.lora_A.weight": [2, 4], "encoder.k.lora_B.weight": [4, 2]}}
// END

// Where the modules are, what says so, and how much of it is proved.
// TABLE: adapter {{ *}}module {{.*}} node {{ *}}evidence {{ *}}note
// TABLE: x {{ *}}encoder.k {{.*}} k_node {{ *}}metadata
// TABLE: x {{ *}}encoder.q {{.*}} /q/MatMul {{ *}}names
// TABLE: ignored: decoder.q
// TABLE: 0 of 2 parameters proved by contents (no base checkpoint to compare with; --base names one)
// MAP: x {{ *}}q {{.*}} /q/MatMul
// TWINS: error: adapter 'x': module 'decoder.q' (weight, lora): the graph is 'encoder' of the adapter's model, not what this module is in
// UNUSED: error: --map 'none=other' names no module of an adapter
// PROOF: error: adapter 'x': --require-proof: 2 parameters are not proved by contents ('encoder.k.weight', 'encoder.q.weight'); name the base checkpoint with --base

// CHECK-LABEL: onnx.model @m
onnx.model @m attributes {ir_version = 9 : i64, opsets = ["", 20 : i64]} {
  // CHECK: onnx.graph @main
  onnx.graph @main (%x: tensor<?x4xf32>) {
    // CHECK: %[[Q:.*]] = adapter.parameter "base"::"w" : tensor<4x4xf32>
    // CHECK: adapter.materialize %[[Q]]
    %w = adapter.parameter "base"::"w" : tensor<4x4xf32>
    // CHECK: %[[K:.*]] = adapter.parameter "base"::"k.kernel" : tensor<4x4xf32>
    // CHECK: adapter.materialize %[[K]]
    %k = adapter.parameter "base"::"k.kernel" : tensor<4x4xf32>
    %0 = onnx.node "MatMul"(%x, %w) {node_name = "/q/MatMul", result_names = ["0"]} : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
    %1 = onnx.node "MatMul"(%0, %k) {node_name = "k_node", metadata = ["pkg.torch.onnx.name_scopes", "['', 'k', 'linear']"], result_names = ["1"]} : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
    onnx.return {output_names = ["1"]} %1 : tensor<?x4xf32>
  } {input_names = ["x"]}
  // CHECK: adapter.attachment "x" at <build> attributes {hash = "{{[0-9a-f]+}}", scale = 1.000000e+00 : f64} {
  // CHECK: adapter.attached "encoder.k" "weight" {evidence = "metadata", form = "lora", key = "k.kernel", node = "k_node"}
  // CHECK: adapter.attached "encoder.q" "weight" {evidence = "names", form = "lora", key = "w", node = "/q/MatMul"}
}
