// RUN: adapter-opt %s --kernel-lower-products | FileCheck %s

// Row by row, the next in order; nothing is sorted.
// CHECK-LABEL: func.func @top_k
// CHECK-NOT: kernel.top_k
// CHECK: kernel.parallel
// CHECK: scf.for
// CHECK: scf.for
// CHECK: arith.bitcast
// CHECK: memref.store
func.func @top_k(%x: memref<?x8xf32>, %v: memref<?x2xf32>, %p: memref<?x2xi64>) {
  kernel.top_k ins(%x : memref<?x8xf32>) outs(%v, %p : memref<?x2xf32>, memref<?x2xi64>)
  return
}

// In one thread, so that the order is the same in every run. Every id is checked.
// CHECK-LABEL: func.func @dispatch
// CHECK-NOT: kernel.parallel
// CHECK: kernel.require %{{.*}}, "mlp: expert {0} is outside {1} experts"
// CHECK-NOT: kernel.parallel
func.func @dispatch(%ids: memref<?x2xi64>, %places: memref<?x2xi64>, %tokens: memref<?xi64>, %offsets: memref<9xi64>) {
  kernel.dispatch "mlp" ins(%ids : memref<?x2xi64>) outs(%places, %tokens, %offsets : memref<?x2xi64>, memref<?xi64>, memref<9xi64>)
  return
}

// Blocks of columns of each group in parallel, all with one tile function; none is called for a group without rows.
// 2 groups of 4 blocks, rows in 4 chunks.
// CHECK-LABEL: func.func @grouped
// CHECK: %[[PIECES:.*]] = arith.constant 32 : index
// CHECK: kernel.parallel %[[PIECES]]
// CHECK: scf.if
// CHECK: %[[W:.*]] = memref.subview %{{.*}} : memref<2x4x64x32xf32> to memref<4x64x32xf32, strided<[2048, 32, 1], offset: ?>>
// CHECK: call @kernel.tile_slice(
// CHECK: kernel.parallel
// CHECK: call @kernel.tile_slice(
func.func @grouped(%x: memref<?x64xf32>, %w: memref<2x4x64x32xf32>, %o: memref<3xi64>, %y: memref<?x128xf32>) {
  kernel.grouped_linear ins(%x, %w, %o : memref<?x64xf32>, memref<2x4x64x32xf32>, memref<3xi64>) outs(%y : memref<?x128xf32>)
  kernel.grouped_linear ins(%x, %w, %o : memref<?x64xf32>, memref<2x4x64x32xf32>, memref<3xi64>) outs(%y : memref<?x128xf32>)
  return
}

// CHECK-LABEL: func.func @rows
// CHECK-NOT: kernel.gather_rows
// CHECK: kernel.parallel
// CHECK-NOT: kernel.combine
// CHECK: kernel.parallel
func.func @rows(%x: memref<?x64xf32>, %t: memref<?xi64>, %p: memref<?x2xi64>, %w: memref<?x2xf32>, %y: memref<?x64xf32>) {
  kernel.gather_rows ins(%x, %t : memref<?x64xf32>, memref<?xi64>) outs(%y : memref<?x64xf32>)
  kernel.combine ins(%x, %p, %w : memref<?x64xf32>, memref<?x2xi64>, memref<?x2xf32>) outs(%y : memref<?x64xf32>)
  return
}

// Each expert's weight on its own.
// CHECK-LABEL: func.func @pack
// CHECK: kernel.parallel
// CHECK: memref.subview
// CHECK: memref.subview
func.func @pack(%w: memref<8x6x4xf32>, %p: memref<8x1x4x32xf32>) {
  kernel.pack ins(%w : memref<8x6x4xf32>) outs(%p : memref<8x1x4x32xf32>) {transposed}
  return
}
