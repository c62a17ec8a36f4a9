// RUN: adapter-opt %s | adapter-opt | FileCheck %s
// RUN: adapter-opt %s --mlir-print-op-generic | adapter-opt | FileCheck %s
// RUN: adapter-opt %s --canonicalize | FileCheck %s --check-prefix=FOLD

// CHECK-LABEL: func.func @on_tensors
func.func @on_tensors(%x: tensor<?x4x8xf32>, %n: index, %out: tensor<?x9xf32>, %b: tensor<9xf32>) -> tensor<?x9xf32> {
  // CHECK: %[[W:.*]] = kernel.parameter 3 : tensor<32x9xf32>
  %w = kernel.parameter 3 : tensor<32x9xf32>
  %empty = tensor.empty() : tensor<1x32x32xf32>
  // CHECK: %[[P:.*]] = kernel.pack ins(%[[W]] : tensor<32x9xf32>) outs(%{{.*}} : tensor<1x32x32xf32>) -> tensor<1x32x32xf32>
  %p = kernel.pack ins(%w : tensor<32x9xf32>) outs(%empty : tensor<1x32x32xf32>) -> tensor<1x32x32xf32>
  // CHECK: %[[X:.*]] = kernel.reshape %{{.*}}[%{{.*}}] : tensor<?x4x8xf32> to tensor<?x32xf32>
  %m = kernel.reshape %x [%n] : tensor<?x4x8xf32> to tensor<?x32xf32>
  // CHECK: kernel.linear ins(%[[X]], %[[P]], %{{.*}} : tensor<?x32xf32>, tensor<1x32x32xf32>, tensor<9xf32>) outs(%{{.*}} : tensor<?x9xf32>) -> tensor<?x9xf32>
  %y = kernel.linear ins(%m, %p, %b : tensor<?x32xf32>, tensor<1x32x32xf32>, tensor<9xf32>) outs(%out : tensor<?x9xf32>) -> tensor<?x9xf32>
  return %y : tensor<?x9xf32>
}

// CHECK-LABEL: func.func @on_buffers
func.func @on_buffers(%q: memref<?x?x8xf32>, %k: memref<?x?x8xf32>, %s: memref<?x?x?xf32>, %n: index, %one: index) {
  // CHECK: kernel.batch_matmul ins({{.*}}) outs(%{{.*}} : memref<?x?x?xf32>) {transpose_rhs}
  // CHECK-NOT: ->
  kernel.batch_matmul ins(%q, %k : memref<?x?x8xf32>, memref<?x?x8xf32>) outs(%s : memref<?x?x?xf32>) {transpose_rhs}
  // CHECK: kernel.parallel %{{.*}} grain %{{.*}} {
  kernel.parallel %n grain %one {
  // CHECK: ^bb0(%[[I:.*]]: index):
  ^bb0(%i: index):
    %v = arith.constant 1.0 : f32
    // CHECK: memref.store %{{.*}}[%[[I]], %[[I]], %[[I]]]
    memref.store %v, %s[%i, %i, %i] : memref<?x?x?xf32>
  }
  return
}

// A reshape to the same static shape is its source; one to another shape, or of unknown sizes, stays.
// FOLD-LABEL: func.func @reshape
// FOLD-SAME: (%[[X:.*]]: tensor<2x3xf32>, %[[D:.*]]: tensor<?x3xf32>
// FOLD-NOT: tensor<2x3xf32> to tensor<2x3xf32>
// FOLD: %[[D2:.*]] = kernel.reshape %[[D]]
// FOLD: %[[F:.*]] = kernel.reshape %[[X]][] : tensor<2x3xf32> to tensor<6xf32>
// FOLD: return %[[X]], %[[D2]], %[[F]]
func.func @reshape(%x: tensor<2x3xf32>, %d: tensor<?x3xf32>, %n: index) -> (tensor<2x3xf32>, tensor<?x3xf32>, tensor<6xf32>) {
  %0 = kernel.reshape %x [] : tensor<2x3xf32> to tensor<2x3xf32>
  %1 = kernel.reshape %d [%n] : tensor<?x3xf32> to tensor<?x3xf32>
  %2 = kernel.reshape %x [] : tensor<2x3xf32> to tensor<6xf32>
  return %0, %1, %2 : tensor<2x3xf32>, tensor<?x3xf32>, tensor<6xf32>
}

// CHECK-LABEL: func.func @output
func.func @output(%n: index) -> memref<?x4xf32> {
  // CHECK: %[[Y:.*]] = kernel.output 1[%{{.*}}] : memref<?x4xf32>
  %y = kernel.output 1 [%n] : memref<?x4xf32>
  return %y : memref<?x4xf32>
}

// A check that holds is none.
// CHECK-LABEL: func.func @require
// FOLD-LABEL: func.func @require
func.func @require(%c: i1, %n: index, %m: index) {
  %true = arith.constant true
  // CHECK: kernel.require %{{.*}}, "{0} and {1} differ"(%{{.*}}, %{{.*}})
  // FOLD: kernel.require %{{.*}}, "{0} and {1} differ"
  kernel.require %c, "{0} and {1} differ" (%n, %m)
  // CHECK: kernel.require %{{.*}}, "never"
  // FOLD-NOT: kernel.require
  kernel.require %true, "never"
  return
}
