// RUN: adapter-opt %s | adapter-opt | FileCheck %s
// RUN: adapter-opt %s --mlir-print-op-generic | adapter-opt | FileCheck %s

// CHECK-LABEL: func.func @routes
func.func @routes(%l: tensor<?x8xf32>) {
  // CHECK: adapter.route softmax score_first top 2 normalise after scope token %{{.*}} : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi64>
  %0:2 = adapter.route softmax score_first top 2 normalise after scope token %l : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi64>
  // CHECK: adapter.route sigmoid score_first top 2 normalise before scope token %{{.*}}
  %1:2 = adapter.route sigmoid score_first top 2 normalise before scope token %l : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi64>
  // CHECK: adapter.route softmax select_first top 2 normalise none scope sequence %{{.*}}
  %2:2 = adapter.route softmax select_first top 2 normalise none scope sequence %l : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi64>
  // CHECK: adapter.route none score_first top 1 normalise none scope task %{{.*}}
  %3:2 = adapter.route none score_first top 1 normalise none scope task %l : tensor<?x8xf32> -> tensor<?x1xf32>, tensor<?x1xi32>
  return
}

// CHECK-LABEL: func.func @experts
func.func @experts(%x: tensor<?x4xf32>, %i: tensor<?x2xi64>, %w: tensor<?x2xf32>, %u: tensor<8x12x4xf32>, %v: tensor<8x6x4xf32>, %d: tensor<8x4x6xf32>) {
  // CHECK: adapter.experts silu %{{.*}} {gated} : tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<8x12x4xf32>, tensor<8x4x6xf32> -> tensor<?x4xf32>
  %0 = adapter.experts silu %x, %i, %w, %u, %d {gated} : tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<8x12x4xf32>, tensor<8x4x6xf32> -> tensor<?x4xf32>
  // CHECK: adapter.experts relu %{{.*}} : tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<8x6x4xf32>, tensor<8x4x6xf32> -> tensor<?x4xf32>
  %1 = adapter.experts relu %x, %i, %w, %v, %d : tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<8x6x4xf32>, tensor<8x4x6xf32> -> tensor<?x4xf32>
  // CHECK: adapter.experts identity %{{.*}} {transposed}
  %2 = adapter.experts identity %x, %i, %w, %d, %v {transposed} : tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<8x4x6xf32>, tensor<8x6x4xf32> -> tensor<?x4xf32>
  return
}

// CHECK-LABEL: func.func @placed
func.func @placed(%x: tensor<?x4xf32>, %i: tensor<?x2xi64>, %w: tensor<?x2xf32>, %u: tensor<4x6x4xf32>, %d: tensor<4x4x6xf32>, %b: tensor<4x6xf32>) {
  // CHECK: adapter.experts relu %{{.*}} ranks 2 placement [0, 1, 1, 0] : tensor<?x4xf32>
  %0 = adapter.experts relu %x, %i, %w, %u, %d ranks 2 placement [0, 1, 1, 0] : tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<4x6x4xf32>, tensor<4x4x6xf32> -> tensor<?x4xf32>
  // CHECK: adapter.experts gelu %{{.*}} bias %{{.*}} ranks 4 placement [3, 2, 1, 0] : tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<4x6x4xf32>, tensor<4x4x6xf32>, tensor<4x6xf32> -> tensor<?x4xf32>
  %1 = adapter.experts gelu %x, %i, %w, %u, %d bias %b ranks 4 placement [3, 2, 1, 0] : tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<4x6x4xf32>, tensor<4x4x6xf32>, tensor<4x6xf32> -> tensor<?x4xf32>
  return
}
