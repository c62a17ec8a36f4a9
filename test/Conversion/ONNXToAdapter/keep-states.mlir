// RUN: adapter-opt %s --split-input-file --adapter-keep-states | FileCheck %s

!q = tensor<?x4x?x8xf32>
!kv = tensor<?x2x?x8xf32>

// Another output before and one behind; the shape of what was continued may be asked for.
// CHECK-LABEL: onnx.graph @main
// CHECK-SAME: (%[[Q:.*]]: {{.*}}, %[[K:.*]]: {{.*}}, %[[V:.*]]: {{.*}}, %[[PK:.*]]: {{.*}}, %{{.*}}: {{.*}})
// CHECK: %[[AK:.*]] = onnx.node "Concat"(%[[PK]], %[[K]])
// CHECK-NOT: "Concat"
// CHECK: %[[N:.*]] = onnx.node "Shape"(%[[AK]])
// CHECK: %[[Y:.*]] = adapter.attention %[[Q]], %[[K]], %[[V]] {scale = 1.000000e+00 : f32, state = array<i64: 0, 1>}
// CHECK: onnx.return {output_names = ["n", "y"]} %[[N]], %[[Y]]
// CHECK: onnx.session = #onnx.session<[<past = 3, present = -1, axis = 2, kept = 0>, <past = 4, present = -1, axis = 2, kept = 1>]>
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20]} {
  onnx.graph @main (%q: !q, %k: !kv, %v: !kv, %pk: !kv, %pv: !kv) {
    %ak = onnx.node "Concat"(%pk, %k) {node_attributes = {axis = 2 : i64}, result_names = ["ak"]} : (!kv, !kv) -> !kv
    %av = onnx.node "Concat"(%pv, %v) {node_attributes = {axis = 2 : i64}, result_names = ["av"]} : (!kv, !kv) -> !kv
    %n = onnx.node "Shape"(%ak) {result_names = ["n"]} : (!kv) -> tensor<4xi64>
    %y = adapter.attention %q, %ak, %av {scale = 1.0 : f32} : !q, !kv, !kv -> !q
    onnx.return {output_names = ["n", "ak", "y", "av"]} %n, %ak, %y, %av : tensor<4xi64>, !kv, !q, !kv
  } {input_names = ["q", "k", "v", "pk", "pv"], onnx.session = #onnx.session<[<past = 3, present = 1, axis = 2>, <past = 4, present = 3, axis = 2>]>}
}

// -----

!q = tensor<?x4x?x8xf32>
!kv = tensor<?x2x?x8xf32>

// What something else reads comes in and goes out.
// CHECK-LABEL: onnx.graph @read
// CHECK: adapter.attention %{{.*}} {scale = 1.000000e+00 : f32} :
// CHECK: onnx.session = #onnx.session<[<past = 3, present = 1, axis = 2>, <past = 4, present = 2, axis = 2>]>
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20]} {
  onnx.graph @read (%q: !q, %k: !kv, %v: !kv, %pk: !kv, %pv: !kv) {
    %ak = onnx.node "Concat"(%pk, %k) {node_attributes = {axis = 2 : i64}, result_names = ["ak"]} : (!kv, !kv) -> !kv
    %av = onnx.node "Concat"(%pv, %v) {node_attributes = {axis = 2 : i64}, result_names = ["av"]} : (!kv, !kv) -> !kv
    %y = adapter.attention %q, %ak, %av {scale = 1.0 : f32} : !q, !kv, !kv -> !q
    %z = onnx.node "Relu"(%av) {result_names = ["z"]} : (!kv) -> !kv
    onnx.return {output_names = ["y", "ak", "av", "z"]} %y, %ak, %av, %z : !q, !kv, !kv, !kv
  } {input_names = ["q", "k", "v", "pk", "pv"], onnx.session = #onnx.session<[<past = 3, present = 1, axis = 2>, <past = 4, present = 2, axis = 2>]>}
}
