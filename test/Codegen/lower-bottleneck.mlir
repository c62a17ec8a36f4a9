// RUN: adapter-opt %s --kernel-lower-products | FileCheck %s

// Code for what the site's forms have, and no other: one activation behind no test, no norm and no gate.
// CHECK-LABEL: func @one
func.func @one(%x: memref<?x4xf32>, %y: memref<?x4xf32>) {
  // CHECK: kernel.segment_count
  // CHECK: kernel.entry_has %{{.*}} of %{{.*}}[0]
  // CHECK: func.call @kernel.tile(
  // CHECK-NOT: math.sqrt
  // CHECK: arith.maximumf
  // CHECK-NOT: math.tanh
  // CHECK: func.call @kernel.tile(
  // CHECK-NOT: kernel.entry_has %{{.*}} of %{{.*}}[5]
  // CHECK: return
  kernel.row_bottleneck ins(%x : memref<?x4xf32>) outs(%y : memref<?x4xf32>) {accumulate, bank = 0 : i64, bottlenecks = [#adapter.bottleneck<relu>]}
  return
}

// CHECK-LABEL: func @two
func.func @two(%x: memref<?x4xf32>, %r: memref<?x4xf32>, %y: memref<?x4xf32>) {
  // CHECK: %[[V:.*]] = kernel.entry_extent %{{.*}} of %{{.*}}[1]
  // CHECK: arith.cmpi eq, %[[V]]
  // CHECK: math.sqrt
  // CHECK: math.tanh
  // CHECK: kernel.entry_has %{{.*}} of %{{.*}}[5]
  // CHECK: kernel.entry_tensor %{{.*}} of %{{.*}}[4]
  kernel.row_bottleneck ins(%x, %r : memref<?x4xf32>, memref<?x4xf32>) outs(%y : memref<?x4xf32>) {accumulate, bank = 1 : i64, bottlenecks = [#adapter.bottleneck<relu, gate>, #adapter.bottleneck<tanh, norm_before, norm_after, residual_first>]}
  return
}
