// REQUIRES: onnx
// RUN: %make-adapter %s %t.lora
// RUN: not adapter-opt %s --adapter x=%t.lora --check 2>%t.err | FileCheck %s --check-prefix=TABLE
// RUN: FileCheck %s --check-prefix=ERROR < %t.err
// RUN: not adapter-opt %s --adapter x=%t.lora 2>&1 | FileCheck %s --check-prefix=ERROR
// RUN: not adapter-opt %s --adapter x=%t.lora --ignore-missing '*.v' 2>&1 | FileCheck %s --check-prefix=SHAPE
// ADAPTER
// {"tensors": {"layer.q.lora_A.weight": [2, 4], "layer.q.lora_B.weight": [3, 2],
//              "layer.k.lora_A.weight": [2, 5], "layer.k.lora_B.weight": [3, 2],
//              "layer.v.lora_A.weight": [2, 4], "layer.v.lora_B.weight": [3, 2]}}
// END

// TABLE: adapter  module   parameter  kind    form  rank  scale  orientation  node
// TABLE: x        layer.q  weight     linear  lora  2     1      [in, out]    /layer/q/MatMul
// TABLE: left over: adapter 'x': module 'layer.k'
// TABLE: left over: adapter 'x': module 'layer.v'
// ERROR: adapter-opt: error: adapter 'x': module 'layer.k' (weight, lora): 'base_model.model.layer.k.lora_A.weight' has shape [2, 5], expected [r, cols] = [r, 4] with cols = 4 for the graph's linear [3, 4] (/layer/k/MatMul) (and 1 more, see --check)
// SHAPE: has shape [2, 5], expected [r, cols] = [r, 4]
onnx.model @m attributes {ir_version = 9 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @main (%x: tensor<?x4xf32>) {
    %q = adapter.parameter "base"::"val_1" : tensor<4x3xf32>
    %k = adapter.parameter "base"::"val_2" : tensor<4x3xf32>
    %0 = onnx.node "MatMul"(%x, %q) {node_name = "/layer/q/MatMul", result_names = ["0"]} : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
    %1 = onnx.node "MatMul"(%x, %k) {node_name = "/layer/k/MatMul", result_names = ["1"]} : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
    onnx.return {output_names = ["0", "1"]} %0, %1 : tensor<?x3xf32>, tensor<?x3xf32>
  } {input_names = ["x"]}
}
