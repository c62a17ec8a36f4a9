// RUN: adapter-opt %s --adapter-lower-materialize | FileCheck %s

// Loops run over the weight as it lies, the rank before the last dimension.
// CHECK-DAG: #[[$A:.*]] = affine_map<(d0, d1, d2) -> (d1, d2)>
// CHECK-DAG: #[[$B:.*]] = affine_map<(d0, d1, d2) -> (d0, d1)>
// CHECK-DAG: #[[$W:.*]] = affine_map<(d0, d1, d2) -> (d0, d2)>
// CHECK-DAG: #[[$AT:.*]] = affine_map<(d0, d1, d2) -> (d1, d0)>
// CHECK-DAG: #[[$BT:.*]] = affine_map<(d0, d1, d2) -> (d2, d1)>

// CHECK-LABEL: func.func @low_rank
func.func @low_rank(%w: tensor<?x?xf32>, %a: tensor<?x?xf32>, %b: tensor<?x?xf16>, %s: f64) -> tensor<?x?xf32> {
  // CHECK: %[[WIDE:.*]] = linalg.generic {{.*}} ins(%arg0
  // CHECK: arith.extf
  // CHECK: %[[NEW:.*]] = linalg.generic {indexing_maps = [#[[$A]], #[[$B]], #[[$W]]], iterator_types = ["parallel", "reduction", "parallel"]} ins(%arg1, %arg2 {{.*}} outs(%[[WIDE]]
  // CHECK: arith.mulf %{{.*}}, %arg3 : f64
  // CHECK: arith.addf
  // CHECK: %[[NARROW:.*]] = linalg.generic {{.*}} ins(%[[NEW]]
  // CHECK: arith.truncf
  // CHECK: return %[[NARROW]]
  // CHECK-NOT: adapter.
  %u = adapter.low_rank %a, %b : tensor<?x?xf32>, tensor<?x?xf16> -> !adapter.update<tensor<?x?xf32>>
  %v = adapter.scale %u, %s : !adapter.update<tensor<?x?xf32>>
  %n = adapter.materialize %w, %v : tensor<?x?xf32>
  return %n : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @transposed
func.func @transposed(%w: tensor<64x32xf32>, %a: tensor<8x64xf32>, %b: tensor<32x8xf32>) -> tensor<64x32xf32> {
  // CHECK: linalg.generic {indexing_maps = [#[[$AT]], #[[$BT]], #[[$W]]]
  %u = adapter.low_rank %a, %b : tensor<8x64xf32>, tensor<32x8xf32> -> !adapter.update<tensor<32x64xf32>>
  %t = adapter.transpose %u [1, 0] : !adapter.update<tensor<32x64xf32>> -> !adapter.update<tensor<64x32xf32>>
  %n = adapter.materialize %w, %t : tensor<64x32xf32>
  return %n : tensor<64x32xf32>
}

// The weight is not read where it is replaced.
// CHECK-LABEL: func.func @replaced
func.func @replaced(%w: tensor<8xf32>, %v: tensor<8xf16>) -> tensor<8xf32> {
  // CHECK-SAME: -> tensor<8xf32> {
  // CHECK-NOT: %arg0
  // CHECK: return
  %u = adapter.replace %v : tensor<8xf16> -> !adapter.update<tensor<8xf32>>
  %n = adapter.materialize %w, %u : tensor<8xf32>
  return %n : tensor<8xf32>
}

// CHECK-LABEL: func.func @magnitude
func.func @magnitude(%w: tensor<32x64xf32>, %v: tensor<32x64xf32>, %m: tensor<32xf32>) -> tensor<32x64xf32> {
  // CHECK: linalg.generic {{.*}} iterator_types = ["parallel", "reduction"]
  // CHECK: math.sqrt
  // CHECK: arith.divf
  %u = adapter.dense %v : tensor<32x64xf32> -> !adapter.update<tensor<32x64xf32>>
  %d = adapter.magnitude %u, %m axis 0 : !adapter.update<tensor<32x64xf32>>, tensor<32xf32>
  %n = adapter.materialize %w, %d : tensor<32x64xf32>
  return %n : tensor<32x64xf32>
}

// CHECK-LABEL: func.func @rows
func.func @rows(%w: tensor<96x32xf32>, %i: tensor<3xi64>, %v: tensor<3x32xf32>) -> tensor<96x32xf32> {
  // CHECK: scf.for
  // CHECK: scf.for
  // CHECK: tensor.extract %arg1
  // CHECK: tensor.insert
  %u = adapter.sparse overwrite rows %i, %v : tensor<3xi64>, tensor<3x32xf32> -> !adapter.update<tensor<96x32xf32>>
  %n = adapter.materialize %w, %u : tensor<96x32xf32>
  return %n : tensor<96x32xf32>
}

adapter.site @s {module = "m", parameter = "bias", kind = #adapter.kind<vector>, time = #adapter.time<switch>, rows = 8 : i64, columns = 0 : i64, forms = ["replace"]}

// What is known at run time only stays.
// CHECK-LABEL: func.func @later
func.func @later(%w: tensor<8xf32>) -> tensor<8xf32> {
  // CHECK: %[[U:.*]] = adapter.select @s
  // CHECK: adapter.materialize %arg0, %[[U]]
  %u = adapter.select @s : !adapter.update<tensor<8xf32>>
  %n = adapter.materialize %w, %u : tensor<8xf32>
  return %n : tensor<8xf32>
}
