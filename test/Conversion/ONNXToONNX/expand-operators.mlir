// RUN: adapter-opt %s --split-input-file --adapter-expand-operators | FileCheck %s

!x = tensor<?x?x64xf32, #onnx.dims<"b", "s", "">>
!w = tensor<64xf32>

// Nodes are of one operator set, whatever the model imports; another result of the norm is the sum.
// CHECK-LABEL: onnx.graph @norm
// CHECK: %[[S:.*]] = onnx.node "Add"(%arg0, %arg1) {node_name = "n/Add", onnx.version = 25 : i64
// CHECK: %[[Y:.*]] = onnx.node "RMSNormalization"(%[[S]], %arg2) {{.*}}epsilon = 9.99999974E-6 : f32{{.*}}onnx.version = 25
// CHECK: onnx.return {{.*}} %[[Y]], %[[S]]
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 17, "com.microsoft", 1]} {
  onnx.graph @norm (%x: !x, %skip: !x, %w: !w) {
    %y:4 = onnx.node "SkipSimplifiedLayerNormalization"(%x, %skip, %w) {domain = "com.microsoft", node_attributes = {epsilon = 1.0e-5 : f32}, node_name = "n", result_names = ["y", "", "", "sum"]} : (!x, !x, !w) -> (!x, none, none, !x)
    onnx.return {output_names = ["y", "sum"]} %y#0, %y#3 : !x, !x
  } {input_names = ["x", "skip", "w"]}
}

// -----

!q = tensor<?x?x64xf32, #onnx.dims<"b", "s", "">>
!k = tensor<?x?x32xf32, #onnx.dims<"b", "s", "">>
!past = tensor<?x2x?x?xf32, #onnx.dims<"b", "", "p", "size">>
!cache = tensor<?x2x?x16xf32>
!last = tensor<?xi32, #onnx.dims<"b">>

// New keys go behind those of each row, into a cache that has room for the longest one.
// How wide the cache is the width of the queries says.
// CHECK-LABEL: onnx.graph @grouped
// CHECK-SAME: %arg3: tensor<?x2x?x16xf32, #onnx.dims<"b", "", "p", "">>
// CHECK: %[[HELD:.*]] = onnx.node "Add"
// CHECK: %[[PROMPT:.*]] = onnx.node "Equal"
// CHECK: %[[BEFORE:.*]] = onnx.node "Sub"(%[[HELD]]
// CHECK: %[[BEGIN:.*]] = onnx.node "Where"(%[[PROMPT]], %{{.*}}, %[[BEFORE]])
// CHECK: %[[HAS:.*]] = onnx.node "LessOrEqual"(%[[BEGIN]]
// CHECK: %[[PLACE:.*]] = onnx.node "Where"(%[[HAS]], %[[BEGIN]]
// CHECK: %[[Q:.*]] = onnx.node "Transpose"
// CHECK: %[[FRESH:.*]] = onnx.node "Transpose"
// CHECK: %[[ROOM:.*]] = onnx.node "Pad"(%arg3
// CHECK: %[[K:.*]] = onnx.node "TensorScatter"(%[[ROOM]], %[[FRESH]], %[[PLACE]]) {node_attributes = {axis = 2 : i64}
// CHECK: %[[V:.*]] = onnx.node "TensorScatter"
// CHECK: %[[ENDS:.*]] = onnx.node "Add"(%[[PLACE]]
// CHECK: onnx.node "Attention"(%[[Q]], %[[K]], %[[V]], %{{.*}}, %{{.*}}, %{{.*}}, %[[ENDS]]) {node_attributes = {is_causal = 1 : i64, left_window_size = 7 : i64}
// CHECK: onnx.return {{.*}} %{{.*}}, %[[K]], %[[V]]
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 17, "com.microsoft", 1]} {
  onnx.graph @grouped (%q: !q, %k: !k, %v: !k, %pk: !past, %pv: !past, %last: !last, %total: tensor<i32>) {
    %y:3 = onnx.node "GroupQueryAttention"(%q, %k, %v, %pk, %pv, %last, %total) {domain = "com.microsoft", node_attributes = {num_heads = 4 : i64, kv_num_heads = 2 : i64, local_window_size = 8 : i64}, node_name = "gqa", result_names = ["y", "ka", "va"]} : (!q, !k, !k, !past, !past, !last, tensor<i32>) -> (!q, !cache, !cache)
    onnx.return {output_names = ["y", "ka", "va"]} %y#0, %y#1, %y#2 : !q, !cache, !cache
  } {input_names = ["q", "k", "v", "pk", "pv", "last", "total"]}
}

// -----

!y = tensor<2x4xf32>

// Another operator of that domain, ONNX's own of a name that is there too, and Attention stay.
// CHECK-LABEL: onnx.graph @others
// CHECK-NEXT: onnx.node "Inverse"(%arg0) {domain = "com.microsoft"
// CHECK-NEXT: onnx.node "Gelu"
// CHECK-NEXT: onnx.node "Attention"
// CHECK-NEXT: onnx.return
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 23, "com.microsoft", 1]} {
  onnx.graph @others (%x: !y) {
    %a = onnx.node "Inverse"(%x) {domain = "com.microsoft", result_names = ["a"]} : (!y) -> !y
    %b = onnx.node "Gelu"(%a) {result_names = ["b"]} : (!y) -> !y
    %c = onnx.node "Attention"(%b, %b, %b) {result_names = ["c"]} : (!y, !y, !y) -> !y
    onnx.return {output_names = ["c"]} %c : !y
  } {input_names = ["x"]}
}
