// RUN: adapter-opt %s --split-input-file --adapter-widen-floats | FileCheck %s
// RUN: adapter-opt %s --split-input-file --adapter-widen-floats="sessions=true" | FileCheck %s --check-prefix=SESSIONS

// What a node casts to is f32; inputs and outputs keep their types, caches of sessions do not.
// CHECK-LABEL: onnx.graph @main
// CHECK-SAME: (%[[X:.*]]: tensor<?x4xf16>, %[[P:.*]]: tensor<?x2x?x4xbf16>, %[[I:.*]]: tensor<?x4xi64>)
// CHECK: %[[WX:.*]] = onnx.node "Cast"(%[[X]]) {{.*}}to = 1 : i64{{.*}} -> tensor<?x4xf32>
// CHECK: %[[WP:.*]] = onnx.node "Cast"(%[[P]]) {{.*}}to = 1 : i64{{.*}} -> tensor<?x2x?x4xf32>
// CHECK: %[[C:.*]] = onnx.node "Cast"(%[[I]]) {{.*}}to = 1 : i64{{.*}} -> tensor<?x4xf32>
// CHECK: %[[S:.*]] = onnx.node "Add"(%[[WX]], %[[C]]) {{.*}} -> tensor<?x4xf32>
// CHECK: %[[A:.*]] = onnx.node "Concat"(%[[WP]], %[[WP]]) {{.*}} -> tensor<?x2x?x4xf32>
// CHECK: %[[Y:.*]] = onnx.node "Cast"(%[[S]]) {{.*}}to = 10 : i64{{.*}} -> tensor<?x4xf16>
// CHECK: %[[Z:.*]] = onnx.node "Cast"(%[[A]]) {{.*}}to = 16 : i64{{.*}} -> tensor<?x2x?x4xbf16>
// CHECK: onnx.return {{.*}} %[[Y]], %[[Z]]
// SESSIONS-LABEL: onnx.graph @main
// SESSIONS-SAME: (%{{.*}}: tensor<?x4xf16>, %[[P:.*]]: tensor<?x2x?x4xf32>, %{{.*}}: tensor<?x4xi64>)
// SESSIONS: %[[A:.*]] = onnx.node "Concat"(%[[P]], %[[P]])
// SESSIONS: onnx.return {{.*}} %{{.*}}, %[[A]] : tensor<?x4xf16>, tensor<?x2x?x4xf32>
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20]} {
  onnx.graph @main (%x: tensor<?x4xf16>, %past: tensor<?x2x?x4xbf16>, %i: tensor<?x4xi64>) {
    %c = onnx.node "Cast"(%i) {node_attributes = {to = 10 : i64}, result_names = ["c"]} : (tensor<?x4xi64>) -> tensor<?x4xf16>
    %s = onnx.node "Add"(%x, %c) {result_names = ["s"]} : (tensor<?x4xf16>, tensor<?x4xf16>) -> tensor<?x4xf16>
    %a = onnx.node "Concat"(%past, %past) {node_attributes = {axis = 2 : i64}, result_names = ["a"]} : (tensor<?x2x?x4xbf16>, tensor<?x2x?x4xbf16>) -> tensor<?x2x?x4xbf16>
    onnx.return {output_names = ["s", "present.0"]} %s, %a : tensor<?x4xf16>, tensor<?x2x?x4xbf16>
  } {input_names = ["x", "past.0", "i"]}
}

// -----

// Nothing to do.
// CHECK-LABEL: onnx.graph @plain
// CHECK-NOT: "Cast"
// CHECK: onnx.return
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20]} {
  onnx.graph @plain (%x: tensor<?x4xf32>, %d: tensor<?x4xf64>) {
    %s = onnx.node "Relu"(%x) {result_names = ["s"]} : (tensor<?x4xf32>) -> tensor<?x4xf32>
    onnx.return %s, %d : tensor<?x4xf32>, tensor<?x4xf64>
  } {input_names = ["x", "d"]}
}
