// RUN: adapter-opt %s | adapter-opt | FileCheck %s
// RUN: adapter-opt %s --mlir-print-op-generic | adapter-opt | FileCheck %s

!u = !adapter.update<tensor<32x64xf32>>

// CHECK-LABEL: func.func @from_tensors
func.func @from_tensors(%a: tensor<8x64xf16>, %b: tensor<32x8xf32>, %m: tensor<8xf32>, %v: tensor<32x64xf32>, %i: tensor<3xi64>, %r: tensor<3x64xf32>) {
  // CHECK: adapter.low_rank %{{.*}}, %{{.*}} : tensor<8x64xf16>, tensor<32x8xf32> -> !adapter.update<tensor<32x64xf32>>
  %0 = adapter.low_rank %a, %b : tensor<8x64xf16>, tensor<32x8xf32> -> !u
  // CHECK: adapter.low_rank %{{.*}}, %{{.*}}, %{{.*}} : tensor<8x64xf16>, tensor<32x8xf32>, tensor<8xf32> -> !adapter.update<tensor<32x64xf32>>
  %1 = adapter.low_rank %a, %b, %m : tensor<8x64xf16>, tensor<32x8xf32>, tensor<8xf32> -> !u
  // CHECK: adapter.dense %{{.*}} : tensor<32x64xf32> -> !adapter.update<tensor<32x64xf32>>
  %2 = adapter.dense %v : tensor<32x64xf32> -> !u
  // CHECK: adapter.replace %{{.*}} : tensor<32x64xf32> -> !adapter.update<tensor<32x64xf32>>
  %3 = adapter.replace %v : tensor<32x64xf32> -> !u
  // CHECK: adapter.sparse overwrite rows %{{.*}}, %{{.*}} : tensor<3xi64>, tensor<3x64xf32> -> !adapter.update<tensor<32x64xf32>>
  %4 = adapter.sparse overwrite rows %i, %r : tensor<3xi64>, tensor<3x64xf32> -> !u
  return
}

// CHECK-LABEL: func.func @convolution
func.func @convolution(%a: tensor<4x3x5x5xf32>, %b: tensor<16x4xf32>) {
  // CHECK: -> !adapter.update<tensor<16x3x5x5xf32>>
  %0 = adapter.low_rank %a, %b : tensor<4x3x5x5xf32>, tensor<16x4xf32> -> !adapter.update<tensor<16x3x5x5xf32>>
  return
}

// CHECK-LABEL: func.func @from_updates
func.func @from_updates(%u: !u, %s: f64, %m: tensor<32xf32>) {
  // CHECK: adapter.scale %{{.*}}, %{{.*}} : !adapter.update<tensor<32x64xf32>>
  %0 = adapter.scale %u, %s : !u
  // CHECK: adapter.sum %{{.*}}, %{{.*}} : !adapter.update<tensor<32x64xf32>>
  %1 = adapter.sum %u, %0 : !u
  // CHECK: adapter.sum : !adapter.update<tensor<32x64xf32>>
  %2 = adapter.sum : !u
  // CHECK: adapter.compose %{{.*}}, %{{.*}} : !adapter.update<tensor<32x64xf32>>
  %3 = adapter.compose %u, %1 : !u
  // CHECK: adapter.magnitude %{{.*}}, %{{.*}} axis 0 : !adapter.update<tensor<32x64xf32>>, tensor<32xf32>
  %4 = adapter.magnitude %u, %m axis 0 : !u, tensor<32xf32>
  // CHECK: adapter.transpose %{{.*}} [1, 0] : !adapter.update<tensor<32x64xf32>> -> !adapter.update<tensor<64x32xf32>>
  %5 = adapter.transpose %u [1, 0] : !u -> !adapter.update<tensor<64x32xf32>>
  // CHECK: adapter.place %{{.*}} at 32 axis 0 : !adapter.update<tensor<32x64xf32>> -> !adapter.update<tensor<96x64xf32>>
  %6 = adapter.place %u at 32 axis 0 : !u -> !adapter.update<tensor<96x64xf32>>
  return
}

// CHECK: adapter.site @site_0 {columns = 64 : i64, forms = ["lora"], kind = #adapter.kind<linear>, module = "q", parameter = "weight", rows = 32 : i64, time = #adapter.time<row>, transposed}
adapter.site @site_0 {module = "q", parameter = "weight", kind = #adapter.kind<linear>, time = #adapter.time<row>, rows = 32 : i64, columns = 64 : i64, transposed, forms = ["lora"]}

// CHECK-LABEL: func.func @uses
func.func @uses(%w: tensor<64x32xf32>, %x: tensor<?x64xf32>, %b: tensor<32xf32>, %ids: tensor<?x7xi64>) {
  // CHECK: %[[U:.*]] = adapter.select @site_0 : !adapter.update<tensor<64x32xf32>>
  %u = adapter.select @site_0 : !adapter.update<tensor<64x32xf32>>
  // CHECK: adapter.materialize %{{.*}}, %[[U]] : tensor<64x32xf32>
  %0 = adapter.materialize %w, %u : tensor<64x32xf32>
  // CHECK: adapter.linear %{{.*}}, %{{.*}} bias %{{.*}} update %[[U]] : tensor<?x64xf32>, tensor<64x32xf32>, !adapter.update<tensor<64x32xf32>>, tensor<32xf32> -> tensor<?x32xf32>
  %1 = adapter.linear %x, %w bias %b update %u : tensor<?x64xf32>, tensor<64x32xf32>, !adapter.update<tensor<64x32xf32>>, tensor<32xf32> -> tensor<?x32xf32>
  // CHECK: adapter.embedding %{{.*}}, %{{.*}} update %[[U]] : tensor<?x7xi64>, tensor<64x32xf32>, !adapter.update<tensor<64x32xf32>> -> tensor<?x7x32xf32>
  %2 = adapter.embedding %ids, %w update %u : tensor<?x7xi64>, tensor<64x32xf32>, !adapter.update<tensor<64x32xf32>> -> tensor<?x7x32xf32>
  return
}
