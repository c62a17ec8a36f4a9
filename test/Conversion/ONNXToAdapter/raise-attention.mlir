// RUN: adapter-opt %s --split-input-file --adapter-raise-attention | FileCheck %s

!q = tensor<?x4x?x8xf32>
!kv = tensor<?x2x?x8xf32>
!kv5 = tensor<?x2x1x?x8xf32>
!wide5 = tensor<?x2x2x?x8xf32>
!turned = tensor<?x4x8x?xf32>
!p = tensor<?x4x?x?xf32>
!mask = tensor<?x1x?x?xf32>

// Shared heads, both operands scaled, a mask, 0 for what is no number.
// CHECK-LABEL: func.func @shared
// CHECK-SAME: (%[[Q:.*]]: tensor<?x4x?x8xf32>, %[[K:.*]]: tensor<?x2x?x8xf32>, %[[V:.*]]: tensor<?x2x?x8xf32>, %[[M:.*]]: tensor<?x1x?x?xf32>,
// CHECK-NOT: onnx.node
// CHECK: %[[Y:.*]] = adapter.attention %[[Q]], %[[K]], %[[V]] mask %[[M]] {scale = 2.500000e-01 : f32, zero_masked}
// CHECK: return %[[Y]]
func.func @shared(%q: !q, %k: !kv, %v: !kv, %mask: !mask, %r: tensor<4xi64>) -> !q {
  %e = adapter.parameter "base"::"e" = dense<[1, 1, 2, 1, 1]> : tensor<5xi64>
  %two = adapter.parameter "base"::"two" = dense<2> : tensor<1xi64>
  %half = onnx.node "Constant"() {node_attributes = {value_float = 0.5 : f32}, result_names = ["half"]} : () -> tensor<f32>
  %zero = onnx.node "Constant"() {node_attributes = {value_float = 0.0 : f32}, result_names = ["zero"]} : () -> tensor<f32>
  %k1 = onnx.node "Unsqueeze"(%k, %two) {result_names = ["k1"]} : (!kv, tensor<1xi64>) -> !kv5
  %k2 = onnx.node "Expand"(%k1, %e) {result_names = ["k2"]} : (!kv5, tensor<5xi64>) -> !wide5
  %k3 = onnx.node "Reshape"(%k2, %r) {result_names = ["k3"]} : (!wide5, tensor<4xi64>) -> !q
  %k4 = onnx.node "Transpose"(%k3) {node_attributes = {perm = array<i64: 0, 1, 3, 2>}, result_names = ["k4"]} : (!q) -> !turned
  %k5 = onnx.node "Mul"(%k4, %half) {result_names = ["k5"]} : (!turned, tensor<f32>) -> !turned
  %q1 = onnx.node "Mul"(%half, %q) {result_names = ["q1"]} : (tensor<f32>, !q) -> !q
  %s = onnx.node "MatMul"(%q1, %k5) {result_names = ["s"]} : (!q, !turned) -> !p
  %t = onnx.node "Add"(%s, %mask) {result_names = ["t"]} : (!p, !mask) -> !p
  %p = onnx.node "Softmax"(%t) {node_attributes = {axis = -1 : i64}, result_names = ["p"]} : (!p) -> !p
  %n = onnx.node "IsNaN"(%p) {result_names = ["n"]} : (!p) -> tensor<?x4x?x?xi1>
  %w = onnx.node "Where"(%n, %zero, %p) {result_names = ["w"]} : (tensor<?x4x?x?xi1>, tensor<f32>, !p) -> !p
  %v1 = onnx.node "Unsqueeze"(%v, %two) {result_names = ["v1"]} : (!kv, tensor<1xi64>) -> !kv5
  %v2 = onnx.node "Expand"(%v1, %e) {result_names = ["v2"]} : (!kv5, tensor<5xi64>) -> !wide5
  %v3 = onnx.node "Reshape"(%v2, %r) {result_names = ["v3"]} : (!wide5, tensor<4xi64>) -> !q
  %y = onnx.node "MatMul"(%w, %v3) {result_names = ["y"]} : (!p, !q) -> !q
  return %y : !q
}

// -----

!q = tensor<?x4x?x8xf32>
!turned = tensor<?x4x8x?xf32>
!p = tensor<?x4x?x?xf32>

// A cap between the scale and the mask; a bias beside the mask; keys that are turned with their heads.
// CHECK-LABEL: func.func @capped
// CHECK: %[[K:.*]] = onnx.node "Transpose"(%{{.*}}) {{.*}}perm = array<i64: 0, 2, 1, 3>
// CHECK: %[[M:.*]] = onnx.node "Add"
// CHECK: adapter.attention %{{.*}}, %[[K]], %{{.*}} mask %[[M]] {scale = 5.000000e-01 : f32, softcap = 4.000000e+00 : f32}
func.func @capped(%q: !q, %k: tensor<?x?x4x8xf32>, %v: !q, %mask: tensor<?x1x?x?xf32>, %bias: tensor<4x1x?xf32>) -> !q {
  %half = onnx.node "Constant"() {node_attributes = {value_float = 0.5 : f32}, result_names = ["half"]} : () -> tensor<f32>
  %cap = onnx.node "Constant"() {node_attributes = {value_float = 4.0 : f32}, result_names = ["cap"]} : () -> tensor<f32>
  %k1 = onnx.node "Transpose"(%k) {node_attributes = {perm = array<i64: 0, 2, 3, 1>}, result_names = ["k1"]} : (tensor<?x?x4x8xf32>) -> !turned
  %s0 = onnx.node "MatMul"(%q, %k1) {result_names = ["s0"]} : (!q, !turned) -> !p
  %s1 = onnx.node "Mul"(%s0, %half) {result_names = ["s1"]} : (!p, tensor<f32>) -> !p
  %s2 = onnx.node "Div"(%s1, %cap) {result_names = ["s2"]} : (!p, tensor<f32>) -> !p
  %s3 = onnx.node "Tanh"(%s2) {result_names = ["s3"]} : (!p) -> !p
  %s4 = onnx.node "Mul"(%s3, %cap) {result_names = ["s4"]} : (!p, tensor<f32>) -> !p
  %s5 = onnx.node "Add"(%s4, %bias) {result_names = ["s5"]} : (!p, tensor<4x1x?xf32>) -> !p
  %s6 = onnx.node "Add"(%mask, %s5) {result_names = ["s6"]} : (tensor<?x1x?x?xf32>, !p) -> !p
  %p = onnx.node "Softmax"(%s6) {node_attributes = {axis = 3 : i64}, result_names = ["p"]} : (!p) -> !p
  %y = onnx.node "MatMul"(%p, %v) {result_names = ["y"]} : (!p, !q) -> !q
  return %y : !q
}

// -----

!q = tensor<?x4x?x8xf32>
!kv = tensor<?x2x?x8xf32>

// ONNX's own operator: what continues the past is a Concat, queries that see all but later keys count from the last.
// CHECK-LABEL: func.func @node
// CHECK-SAME: (%[[Q:.*]]: {{.*}}, %[[K:.*]]: {{.*}}, %[[V:.*]]: {{.*}}, %[[PK:.*]]: {{.*}}, %[[PV:.*]]: {{.*}})
// CHECK: %[[AK:.*]] = onnx.node "Concat"(%[[PK]], %[[K]])
// CHECK: %[[AV:.*]] = onnx.node "Concat"(%[[PV]], %[[V]])
// CHECK: %[[Y:.*]] = adapter.attention %[[Q]], %[[AK]], %[[AV]] {causal, scale = 0.353553385 : f32, window = 6 : i64, zero_masked}
// CHECK: return %[[Y]], %[[AK]], %[[AV]]
func.func @node(%q: !q, %k: !kv, %v: !kv, %pk: !kv, %pv: !kv) -> (!q, !kv, !kv) {
  %none = onnx.absent
  %y, %ak, %av = onnx.node "Attention"(%q, %k, %v, %none, %pk, %pv) {node_attributes = {is_causal = 1 : i64, left_window_size = 5 : i64}, onnx.version = 25 : i64, result_names = ["y", "ak", "av"]} : (!q, !kv, !kv, none, !kv, !kv) -> (!q, !kv, !kv)
  return %y, %ak, %av : !q, !kv, !kv
}

// -----

!q = tensor<?x4x?x8xf32>
!turned = tensor<?x4x8x?xf32>
!p = tensor<?x4x?x?xf32>

// What stays: a softmax over queries, probabilities that are read twice, keys that are not transposed, a factor that is not
// known, other keys than a node's lengths say, queries that count from the first key.
// CHECK-LABEL: func.func @near
// CHECK-NOT: adapter.attention
func.func @near(%q: !q, %t: !turned, %k: !q, %v: !q, %factor: tensor<f32>, %lengths: tensor<?xi64>) -> (!q, !q, !p, !q, !q, !q, !q) {
  %kt = onnx.node "Transpose"(%k) {node_attributes = {perm = array<i64: 0, 1, 3, 2>}, result_names = ["kt"]} : (!q) -> !turned
  %s = onnx.node "MatMul"(%q, %kt) {result_names = ["s"]} : (!q, !turned) -> !p
  %p0 = onnx.node "Softmax"(%s) {node_attributes = {axis = 2 : i64}, result_names = ["p0"]} : (!p) -> !p
  %y0 = onnx.node "MatMul"(%p0, %v) {result_names = ["y0"]} : (!p, !q) -> !q
  %p1 = onnx.node "Softmax"(%s) {node_attributes = {axis = -1 : i64}, result_names = ["p1"]} : (!p) -> !p
  %y1 = onnx.node "MatMul"(%p1, %v) {result_names = ["y1"]} : (!p, !q) -> !q
  %s2 = onnx.node "MatMul"(%q, %t) {result_names = ["s2"]} : (!q, !turned) -> !p
  %p2 = onnx.node "Softmax"(%s2) {node_attributes = {axis = -1 : i64}, result_names = ["p2"]} : (!p) -> !p
  %y2 = onnx.node "MatMul"(%p2, %v) {result_names = ["y2"]} : (!p, !q) -> !q
  %s3 = onnx.node "Mul"(%s, %factor) {result_names = ["s3"]} : (!p, tensor<f32>) -> !p
  %p3 = onnx.node "Softmax"(%s3) {node_attributes = {axis = -1 : i64}, result_names = ["p3"]} : (!p) -> !p
  %y3 = onnx.node "MatMul"(%p3, %v) {result_names = ["y3"]} : (!p, !q) -> !q
  %none = onnx.absent
  %y4 = onnx.node "Attention"(%q, %k, %v, %none, %none, %none, %lengths) {onnx.version = 25 : i64, result_names = ["y4"]} : (!q, !q, !q, none, none, none, tensor<?xi64>) -> !q
  %y5 = onnx.node "Attention"(%q, %k, %v) {node_attributes = {is_causal = 1 : i64}, onnx.version = 25 : i64, result_names = ["y5"]} : (!q, !q, !q) -> !q
  return %y0, %y1, %p1, %y2, %y3, %y4, %y5 : !q, !q, !p, !q, !q, !q, !q
}
