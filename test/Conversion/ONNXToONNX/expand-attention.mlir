// RUN: adapter-opt %s --split-input-file --adapter-expand-attention | FileCheck %s

!q = tensor<?x?x64xf32, #onnx.dims<"b", "s", "">>
!k = tensor<?x?x32xf32, #onnx.dims<"b", "t", "">>

// Two query heads share one of keys: they are rows of its product. Queries see the keys up to their own place.
// CHECK-LABEL: onnx.graph @shared
// CHECK: %[[Q:.*]] = onnx.node "Mul"(%{{.*}}) {{.*}} -> tensor<?x4x?x16xf32
// CHECK: %[[G:.*]] = onnx.node "Reshape"(%[[Q]], {{.*}} -> tensor<?x2x?x16xf32
// CHECK: %[[T:.*]] = onnx.node "Transpose"(%{{.*}}) {{.*}} -> tensor<?x2x16x?xf32
// CHECK: %[[P:.*]] = onnx.node "MatMul"(%[[G]], %[[T]])
// CHECK: %[[S:.*]] = onnx.node "Reshape"(%[[P]], {{.*}} -> tensor<?x4x?x?xf32
// CHECK: %[[C:.*]] = onnx.node "LessOrEqual"
// CHECK: %[[W:.*]] = onnx.node "Where"(%[[C]], %[[S]], %{{.*}})
// CHECK: %[[A:.*]] = onnx.node "Softmax"(%[[W]]) {{.*}}axis = -1 : i64{{.*}}onnx.version = 25
// CHECK: %[[B:.*]] = onnx.node "Reshape"(%[[A]]
// CHECK: onnx.node "MatMul"(%[[B]]
// CHECK-NOT: "Attention"
// CHECK: onnx.return {{.*}} : tensor<?x?x64xf32, #onnx.dims<"b", "s", "">>
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 23]} {
  onnx.graph @shared (%q: !q, %k: !k, %v: !k) {
    %y = onnx.node "Attention"(%q, %k, %v) {node_attributes = {is_causal = 1 : i64, q_num_heads = 4 : i64, kv_num_heads = 2 : i64}, node_name = "a", result_names = ["y"]} : (!q, !k, !k) -> !q
    onnx.return {output_names = ["y"]} %y : !q
  } {input_names = ["q", "k", "v"]}
}

// -----

!h = tensor<?x4x?x16xf32, #onnx.dims<"b", "", "s", "">>
!p = tensor<?x4x?x16xf32, #onnx.dims<"b", "", "p", "">>
!o = tensor<?x4x?x16xf32>

// What came before is in front, and goes on with what is new. No mask, nothing to compare.
// CHECK-LABEL: onnx.graph @past
// CHECK: %[[K:.*]] = onnx.node "Concat"(%arg1, %arg0) {{.*}}axis = 2
// CHECK: %[[V:.*]] = onnx.node "Concat"(%arg1, %arg0) {{.*}}axis = 2
// CHECK-NOT: "Where"
// CHECK: onnx.node "Softmax"
// CHECK: onnx.return {{.*}} %{{.*}}, %[[K]], %[[V]]
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 23]} {
  onnx.graph @past (%x: !h, %p: !p) {
    %none = onnx.absent
    %y:3 = onnx.node "Attention"(%x, %x, %x, %none, %p, %p) {node_attributes = {scale = 1.0 : f32}, node_name = "a", result_names = ["y", "k", "v"]} : (!h, !h, !h, none, !p, !p) -> (!h, !o, !o)
    onnx.return {output_names = ["y", "k", "v"]} %y#0, %y#1, %y#2 : !h, !o, !o
  } {input_names = ["x", "p"]}
}

// -----

!x = tensor<2x4xf32>

// One of another domain is another operator.
// CHECK-LABEL: onnx.graph @others
// CHECK-NEXT: onnx.node "Attention"
// CHECK-NEXT: onnx.return
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 23, "com.microsoft", 1]} {
  onnx.graph @others (%x: !x) {
    %a = onnx.node "Attention"(%x) {domain = "com.microsoft", result_names = ["a"]} : (!x) -> !x
    onnx.return {output_names = ["a"]} %a : !x
  } {input_names = ["x"]}
}
