// RUN: adapter-opt %s --split-input-file --verify-diagnostics --adapter-keep-states

!q = tensor<?x4x?x8xf32>
!kv = tensor<?x2x?x8xf32>

// Rows that the graph keeps apart by itself have no mask for padding.
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20]} {
  // expected-error @below {{--stateful: input 'pk' is read by more than one attention, which would see the padding of rows}}
  onnx.graph @main (%q: !q, %k: !kv, %v: !kv, %pk: !kv, %pv: !kv) {
    %ak = onnx.node "Concat"(%pk, %k) {node_attributes = {axis = 2 : i64}, result_names = ["ak"]} : (!kv, !kv) -> !kv
    %av = onnx.node "Concat"(%pv, %v) {node_attributes = {axis = 2 : i64}, result_names = ["av"]} : (!kv, !kv) -> !kv
    %y = adapter.attention %q, %ak, %av {scale = 1.0 : f32} : !q, !kv, !kv -> !q
    %z = adapter.attention %q, %ak, %av {scale = 2.0 : f32} : !q, !kv, !kv -> !q
    onnx.return {output_names = ["y", "z", "ak", "av"]} %y, %z, %ak, %av : !q, !q, !kv, !kv
  } {input_names = ["q", "k", "v", "pk", "pv"], onnx.session = #onnx.session<[<past = 3, present = 2, axis = 2>, <past = 4, present = 3, axis = 2>], apart = true>}
}
