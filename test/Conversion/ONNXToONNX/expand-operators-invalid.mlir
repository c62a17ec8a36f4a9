// RUN: adapter-opt %s --split-input-file --verify-diagnostics --adapter-expand-operators

!x = tensor<?x?x64xf32>
!w = tensor<64xf32>

onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 17, "com.microsoft", 1]} {
  onnx.graph @main (%x: !x, %w: !w) {
    // expected-error @below {{SkipLayerNormalization node 'n': result 'mean' is used, but not supported in compiled code}}
    %y:2 = onnx.node "SkipLayerNormalization"(%x, %x, %w) {domain = "com.microsoft", node_name = "n", result_names = ["y", "m"]} : (!x, !x, !w) -> (!x, !x)
    onnx.return {output_names = ["m"]} %y#1 : !x
  } {input_names = ["x", "w"]}
}

// -----

!x = tensor<?x?x64xf32>

onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 17, "com.microsoft", 1]} {
  onnx.graph @main (%x: !x, %w: tensor<64x192xf32>) {
    // expected-error @below {{Attention node 'n': attribute 'do_rotary' = 1 is not supported in compiled code}}
    %y = onnx.node "Attention"(%x, %w) {domain = "com.microsoft", node_attributes = {do_rotary = 1 : i64, num_heads = 4 : i64}, node_name = "n", result_names = ["y"]} : (!x, tensor<64x192xf32>) -> !x
    onnx.return {output_names = ["y"]} %y : !x
  } {input_names = ["x", "w"]}
}

// -----

onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 17, "com.microsoft", 1]} {
  onnx.graph @main (%x: tensor<*xf32>, %w: tensor<4x4xf32>) {
    // expected-error @below {{FusedMatMul node 'n': the number of dimensions of tensor 'x' is not known; give the model's values their types}}
    %y = onnx.node "FusedMatMul"(%x, %w) {domain = "com.microsoft", node_attributes = {transA = 1 : i64}, node_name = "n", result_names = ["y"]} : (tensor<*xf32>, tensor<4x4xf32>) -> tensor<*xf32>
    onnx.return {output_names = ["y"]} %y : tensor<*xf32>
  } {input_names = ["x", "w"]}
}
