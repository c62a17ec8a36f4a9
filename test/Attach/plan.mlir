// REQUIRES: onnx
// RUN: %make-adapter %s %t.lora
// RUN: adapter-opt %s --adapter x=%t.lora@auto --plan | FileCheck %s --check-prefix=ALONE
// RUN: adapter-opt %s --adapter x=%t.lora@auto --adapter y=%t.lora@row --adapter-slot s:lora@call --plan | FileCheck %s --check-prefix=SEVERAL
// RUN: adapter-opt %s --adapter x=%t.lora@auto | FileCheck %s
// ADAPTER
// {"tensors": {"layer.q.lora_A.weight": [2, 64], "layer.q.lora_B.weight": [48, 2], "layer.r.base_layer.weight": [4, 4]}}
// END

// ALONE: adapter x: build, it is the only one, and merged it costs a call nothing; 0 bytes of factors, 0 of copies
// SEVERAL: adapter x: row, one of several, and small against the weights that it changes; 896 bytes of factors, 64 of copies
// SEVERAL-NEXT: layer.r.weight: 'replace' has no form on activations; a copy of 64 bytes
// SEVERAL-NEXT: adapter y: row, as asked; 896 bytes of factors, 64 of copies
// SEVERAL: slot s: call, as asked; room at 2 parameters
// What is alone is bound at build: no site is left.
// CHECK-NOT: adapter.site
// CHECK: adapter.apply @lora
onnx.model @m attributes {ir_version = 9 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @main (%x: tensor<?x64xf32>, %z: tensor<?x4xf32>) {
    %q = adapter.parameter "base"::"q" : tensor<64x48xf32>
    %r = adapter.parameter "base"::"r" : tensor<4x4xf32>
    %0 = onnx.node "MatMul"(%x, %q) {node_name = "/layer/q/MatMul", result_names = ["0"]} : (tensor<?x64xf32>, tensor<64x48xf32>) -> tensor<?x48xf32>
    %1 = onnx.node "MatMul"(%z, %r) {node_name = "/layer/r/MatMul", result_names = ["1"]} : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
    onnx.return {output_names = ["0", "1"]} %0, %1 : tensor<?x48xf32>, tensor<?x4xf32>
  } {input_names = ["x", "z"]}
}
