// RUN: adapter-opt %s --split-input-file --verify-diagnostics --adapter-expand-attention

!x = tensor<?x?x64xf32>

onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 23]} {
  onnx.graph @main (%x: !x) {
    // expected-error @below {{Attention node 'a': the numbers of heads must be known: attributes 'q_num_heads' and 'kv_num_heads', or the second sizes of query and key}}
    %y = onnx.node "Attention"(%x, %x, %x) {node_name = "a", result_names = ["y"]} : (!x, !x, !x) -> !x
    onnx.return {output_names = ["y"]} %y : !x
  } {input_names = ["x"]}
}

// -----

!x = tensor<?x4x?x16xf32>

onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 24]} {
  onnx.graph @main (%x: !x, %n: tensor<?xi64>) {
    %none = onnx.absent
    // expected-error @below {{Attention node 'a': input 'nonpad_kv_seqlen' is not for nodes with past keys}}
    %y = onnx.node "Attention"(%x, %x, %x, %none, %x, %x, %n) {node_name = "a", result_names = ["y"]} : (!x, !x, !x, none, !x, !x, tensor<?xi64>) -> !x
    onnx.return {output_names = ["y"]} %y : !x
  } {input_names = ["x", "n"]}
}

// -----

!x = tensor<?x4x?x16xf32>

onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 24]} {
  onnx.graph @main (%x: !x) {
    // expected-error @below {{Attention node 'a': attribute 'softmax_precision' = 11 is not supported in compiled code}}
    %y = onnx.node "Attention"(%x, %x, %x) {node_attributes = {softmax_precision = 11 : i64}, node_name = "a", result_names = ["y"]} : (!x, !x, !x) -> !x
    onnx.return {output_names = ["y"]} %y : !x
  } {input_names = ["x"]}
}
