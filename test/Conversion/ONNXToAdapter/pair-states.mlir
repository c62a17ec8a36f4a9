// RUN: adapter-opt %s --split-input-file --adapter-pair-states | FileCheck %s

// Two caches, one of them read through an Identity; the mask and the positions go by their names.
// CHECK-LABEL: onnx.graph @main
// CHECK: onnx.session = #onnx.session<[<past = 3, present = 2, axis = 2>, <past = 4, present = 1, axis = 3>], mask = 1, positions = 2>
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20]} {
  onnx.graph @main (%ids: tensor<?x?xi64>, %mask: tensor<?x?xi64>, %positions: tensor<?x?xi64>,
                    %k: tensor<?x2x?x8xf32>, %v: tensor<?x2x8x?xf32>, %newk: tensor<?x2x?x8xf32>, %newv: tensor<?x2x8x?xf32>) {
    %k1 = onnx.node "Identity"(%k) {result_names = ["k1"]} : (tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
    %k2 = onnx.node "Concat"(%k1, %newk) {node_attributes = {axis = -2 : i64}, result_names = ["k2"]} : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
    %v2 = onnx.node "Concat"(%v, %newv) {node_attributes = {axis = 3 : i64}, result_names = ["v2"]} : (tensor<?x2x8x?xf32>, tensor<?x2x8x?xf32>) -> tensor<?x2x8x?xf32>
    onnx.return {output_names = ["logits", "present.0.value", "present.0.key"]} %newk, %v2, %k2 : tensor<?x2x?x8xf32>, tensor<?x2x8x?xf32>, tensor<?x2x?x8xf32>
  } {input_names = ["input_ids", "attention_mask", "position_ids", "past_key_values.0.key", "past_key_values.0.value", "newk", "newv"]}
}

// -----

// Names do not matter; a Concat of something else in front is no continuation.
// CHECK-LABEL: onnx.graph @main
// CHECK: onnx.session = #onnx.session<[<past = 0, present = 0, axis = 1>]>
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20]} {
  onnx.graph @main (%cache: tensor<?x?x8xf32>, %new: tensor<?x?x8xf32>, %other: tensor<?x?x8xf32>) {
    %a = onnx.node "Concat"(%cache, %new) {node_attributes = {axis = 1 : i64}, result_names = ["a"]} : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
    %t = onnx.node "Relu"(%new) {result_names = ["t"]} : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
    %b = onnx.node "Concat"(%t, %other) {node_attributes = {axis = 1 : i64}, result_names = ["b"]} : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
    onnx.return {output_names = ["a", "b"]} %a, %b : tensor<?x?x8xf32>, tensor<?x?x8xf32>
  } {input_names = ["cache", "new", "other"]}
}
