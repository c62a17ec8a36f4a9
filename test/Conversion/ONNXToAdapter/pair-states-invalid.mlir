// RUN: adapter-opt %s --split-input-file --verify-diagnostics --adapter-pair-states

onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20]} {
  // expected-error @below {{--stateful: input 'past.0' looks like a cache, but no output is that input with new tokens behind it (a Concat)}}
  onnx.graph @main (%k: tensor<?x2x?x8xf32>, %new: tensor<?x2x?x8xf32>) {
    %a = onnx.node "Concat"(%new, %k) {node_attributes = {axis = 2 : i64}, result_names = ["a"]} : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
    onnx.return {output_names = ["present.0"]} %a : tensor<?x2x?x8xf32>
  } {input_names = ["past.0", "new"]}
}

// -----

onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20]} {
  // expected-error @below {{--stateful: output 'present.1' looks like a cache, but it is no input with new tokens behind it (a Concat)}}
  onnx.graph @main (%k: tensor<?x2x?x8xf32>, %new: tensor<?x2x?x8xf32>) {
    %a = onnx.node "Concat"(%k, %new) {node_attributes = {axis = 2 : i64}, result_names = ["a"]} : (tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>) -> tensor<?x2x?x8xf32>
    onnx.return {output_names = ["present.0", "present.1"]} %a, %new : tensor<?x2x?x8xf32>, tensor<?x2x?x8xf32>
  } {input_names = ["past.0", "new"]}
}

// -----

onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20]} {
  // expected-error @below {{--stateful: the graph has no cache}}
  onnx.graph @main (%x: tensor<?x4xf32>) {
    onnx.return {output_names = ["y"]} %x : tensor<?x4xf32>
  } {input_names = ["x"]}
}

// -----

onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20]} {
  // expected-error @below {{'past.0' is 4-dimensional state whose axis 0 has a fixed size}}
  onnx.graph @main (%k: tensor<1x2x?x8xf32>, %new: tensor<1x2x?x8xf32>) {
    %a = onnx.node "Concat"(%k, %new) {node_attributes = {axis = 2 : i64}, result_names = ["a"]} : (tensor<1x2x?x8xf32>, tensor<1x2x?x8xf32>) -> tensor<1x2x?x8xf32>
    onnx.return {output_names = ["present.0"]} %a : tensor<1x2x?x8xf32>
  } {input_names = ["past.0", "new"]}
}

// -----

onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20]} {
  // expected-error @below {{input 'past.0' is continued by two outputs}}
  onnx.graph @main (%k: tensor<?x?x8xf32>, %new: tensor<?x?x8xf32>) {
    %a = onnx.node "Concat"(%k, %new) {node_attributes = {axis = 1 : i64}, result_names = ["a"]} : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
    onnx.return {output_names = ["present.0", "present.1"]} %a, %a : tensor<?x?x8xf32>, tensor<?x?x8xf32>
  } {input_names = ["past.0", "new"]}
}

// -----

onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20]} {
  // expected-error @below {{input 'attention_mask' must be of int64 or int32 and have two dynamic axes, rows and tokens}}
  onnx.graph @main (%mask: tensor<?x1x?x?xf32>, %k: tensor<?x?x8xf32>, %new: tensor<?x?x8xf32>) {
    %a = onnx.node "Concat"(%k, %new) {node_attributes = {axis = 1 : i64}, result_names = ["a"]} : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
    onnx.return {output_names = ["present.0"]} %a : tensor<?x?x8xf32>
  } {input_names = ["attention_mask", "past.0", "new"]}
}

// -----

// expected-error @below {{'onnx.session' is not an #onnx.session}}
func.func @f() attributes {onnx.session = 3 : i64} {
  return
}
