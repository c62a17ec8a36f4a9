// RUN: adapter-opt %s --split-input-file --adapter-group-heads | FileCheck %s

!kv = tensor<?x2x?x8xf32, #onnx.dims<"b", "", "t", "">>
!kv5 = tensor<?x2x1x?x8xf32, #onnx.dims<"b", "", "", "t", "">>
!wide5 = tensor<?x2x2x?x8xf32, #onnx.dims<"b", "", "", "t", "">>
!all = tensor<?x4x?x8xf32, #onnx.dims<"b", "", "t", "">>
!turned = tensor<?x4x8x?xf32, #onnx.dims<"b", "", "", "t">>
!q = tensor<?x4x?x8xf32, #onnx.dims<"b", "", "s", "">>
!p = tensor<?x4x?x?xf32, #onnx.dims<"b", "", "s", "t">>

// Values as they are; keys transposed and scaled.
// CHECK-LABEL: func.func @shared
// CHECK-SAME: (%[[Q:.*]]: {{.*}}, %[[P:.*]]: {{.*}}, %[[K:.*]]: {{.*}}, %[[V:.*]]: {{.*}}, %{{.*}}: tensor<5xi64>, %{{.*}}: tensor<4xi64>, %[[S:.*]]: tensor<f32>)
// CHECK-NOT: onnx.node "Expand"
// CHECK: %[[T:.*]] = onnx.node "Transpose"(%[[K]]) {{.*}}perm = array<i64: 0, 1, 3, 2>
// CHECK: %[[F:.*]] = onnx.node "Mul"(%[[T]], %[[S]])
// CHECK: %[[R:.*]] = onnx.node "Reshape"(%[[Q]], {{.*}} -> tensor<?x2x?x8xf32
// CHECK: %[[M:.*]] = onnx.node "MatMul"(%[[R]], %[[F]]) {{.*}} -> tensor<?x2x?x?xf32
// CHECK: %[[X:.*]] = onnx.node "Reshape"(%[[M]], {{.*}} -> tensor<?x4x?x?xf32
// CHECK: %[[N:.*]] = onnx.node "Reshape"(%[[P]], {{.*}} -> tensor<?x2x?x?xf32
// CHECK: %[[O:.*]] = onnx.node "MatMul"(%[[N]], %[[V]])
// CHECK: %[[Y:.*]] = onnx.node "Reshape"(%[[O]], {{.*}} -> tensor<?x4x?x8xf32
// CHECK: return %[[X]], %[[Y]]
func.func @shared(%q: !q, %p: !p, %k: !kv, %v: !kv, %e: tensor<5xi64>, %r: tensor<4xi64>, %scale: tensor<f32>) -> (!p, !q) {
  %two = adapter.parameter "base"::"two" = dense<2> : tensor<1xi64>
  %b = adapter.parameter "base"::"b" = dense<2> : tensor<1xi64>
  %n = onnx.node "Shape"(%k) {result_names = ["n"]} : (!kv) -> tensor<4xi64>
  %zero = adapter.parameter "base"::"zero" = dense<0> : tensor<1xi64>
  %b0 = onnx.node "Gather"(%n, %zero) {result_names = ["b0"]} : (tensor<4xi64>, tensor<1xi64>) -> tensor<1xi64>
  %t0 = onnx.node "Gather"(%n, %two) {result_names = ["t0"]} : (tensor<4xi64>, tensor<1xi64>) -> tensor<1xi64>
  %w = adapter.parameter "base"::"w" = dense<8> : tensor<1xi64>
  %sizes = onnx.node "Concat"(%b0, %b, %two, %t0, %w) {node_attributes = {axis = 0 : i64}, result_names = ["sizes"]} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<5xi64>
  %uk = onnx.node "Unsqueeze"(%k, %two) {result_names = ["uk"]} : (!kv, tensor<1xi64>) -> !kv5
  %ek = onnx.node "Expand"(%uk, %sizes) {result_names = ["ek"]} : (!kv5, tensor<5xi64>) -> !wide5
  %rk = onnx.node "Reshape"(%ek, %r) {result_names = ["rk"]} : (!wide5, tensor<4xi64>) -> !all
  %tk = onnx.node "Transpose"(%rk) {node_attributes = {perm = array<i64: 0, 1, 3, 2>}, result_names = ["tk"]} : (!all) -> !turned
  %sk = onnx.node "Mul"(%tk, %scale) {result_names = ["sk"]} : (!turned, tensor<f32>) -> !turned
  %x = onnx.node "MatMul"(%q, %sk) {result_names = ["x"]} : (!q, !turned) -> !p
  %uv = onnx.node "Unsqueeze"(%v, %two) {result_names = ["uv"]} : (!kv, tensor<1xi64>) -> !kv5
  %ev = onnx.node "Expand"(%uv, %sizes) {result_names = ["ev"]} : (!kv5, tensor<5xi64>) -> !wide5
  %rv = onnx.node "Reshape"(%ev, %r) {result_names = ["rv"]} : (!wide5, tensor<4xi64>) -> !all
  %y = onnx.node "MatMul"(%p, %rv) {result_names = ["y"]} : (!p, !all) -> !q
  return %x, %y : !p, !q
}

// -----

!kv = tensor<?x2x?x8xf32, #onnx.dims<"b", "", "t", "">>
!kv5 = tensor<?x2x1x?x8xf32, #onnx.dims<"b", "", "", "t", "">>
!wide5 = tensor<?x2x?x?x8xf32, #onnx.dims<"b", "", "", "t", "">>
!all = tensor<?x4x?x8xf32, #onnx.dims<"b", "", "t", "">>
!q = tensor<?x4x?x8xf32, #onnx.dims<"b", "", "s", "">>
!p = tensor<?x4x?x?xf32, #onnx.dims<"b", "", "s", "t">>

// Nothing says how often Expand repeats.
// CHECK-LABEL: func.func @unknown
// CHECK: %[[R:.*]] = onnx.node "Reshape"
// CHECK: onnx.node "MatMul"(%{{.*}}, %[[R]])
func.func @unknown(%p: !p, %v: !kv, %e: tensor<5xi64>, %r: tensor<4xi64>) -> !q {
  %two = adapter.parameter "base"::"two" = dense<2> : tensor<1xi64>
  %uv = onnx.node "Unsqueeze"(%v, %two) {result_names = ["uv"]} : (!kv, tensor<1xi64>) -> !kv5
  %ev = onnx.node "Expand"(%uv, %e) {result_names = ["ev"]} : (!kv5, tensor<5xi64>) -> !wide5
  %rv = onnx.node "Reshape"(%ev, %r) {result_names = ["rv"]} : (!wide5, tensor<4xi64>) -> !all
  %y = onnx.node "MatMul"(%p, %rv) {result_names = ["y"]} : (!p, !all) -> !q
  return %y : !q
}

// -----

!kv = tensor<?x2x?x8xf32, #onnx.dims<"b", "", "t", "">>
!kv5 = tensor<?x1x2x?x8xf32, #onnx.dims<"b", "", "", "t", "">>
!wide5 = tensor<?x2x2x?x8xf32, #onnx.dims<"b", "", "", "t", "">>
!all = tensor<?x4x?x8xf32, #onnx.dims<"b", "", "t", "">>
!q = tensor<?x4x?x8xf32, #onnx.dims<"b", "", "s", "">>
!p = tensor<?x4x?x?xf32, #onnx.dims<"b", "", "s", "t">>

// Heads in another order: 0, 1, 0, 1 and not 0, 0, 1, 1.
// CHECK-LABEL: func.func @interleaved
// CHECK: %[[R:.*]] = onnx.node "Reshape"
// CHECK: onnx.node "MatMul"(%{{.*}}, %[[R]])
func.func @interleaved(%p: !p, %v: !kv, %r: tensor<4xi64>) -> !q {
  %one = adapter.parameter "base"::"one" = dense<1> : tensor<1xi64>
  %e = adapter.parameter "base"::"e" = dense<[1, 2, 2, 1, 8]> : tensor<5xi64>
  %uv = onnx.node "Unsqueeze"(%v, %one) {result_names = ["uv"]} : (!kv, tensor<1xi64>) -> !kv5
  %ev = onnx.node "Expand"(%uv, %e) {result_names = ["ev"]} : (!kv5, tensor<5xi64>) -> !wide5
  %rv = onnx.node "Reshape"(%ev, %r) {result_names = ["rv"]} : (!wide5, tensor<4xi64>) -> !all
  %y = onnx.node "MatMul"(%p, %rv) {result_names = ["y"]} : (!p, !all) -> !q
  return %y : !q
}
