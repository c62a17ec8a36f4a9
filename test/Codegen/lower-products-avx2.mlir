// RUN: adapter-opt %s --kernel-lower-products="lanes=8 rows=6" | FileCheck %s

// Registers of eight lanes, weights in blocks of two of them.
// CHECK-LABEL: func.func @linear
// CHECK: kernel.parallel
// CHECK-NOT: vector<16xf32>
// CHECK: vector<8xf32>
// CHECK-NOT: vector<16xf32>
func.func @linear(%x: memref<?x64xf32>, %w: memref<4x64x16xf32>, %y: memref<?x64xf32>) {
  kernel.linear ins(%x, %w : memref<?x64xf32>, memref<4x64x16xf32>) outs(%y : memref<?x64xf32>)
  return
}
