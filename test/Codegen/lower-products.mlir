// RUN: adapter-opt %s --kernel-lower-products | FileCheck %s

// One tile function for products that start from zero, one for those that start from a bias.
// CHECK-LABEL: func.func @products
// CHECK-NOT: kernel.linear
// CHECK-NOT: kernel.pack
// CHECK: kernel.parallel
// CHECK: call @[[$BIASED:[a-z_.]+]](
// CHECK: kernel.parallel
// CHECK: call @[[$ZERO:[a-z_.]+]](
// CHECK: kernel.parallel
// CHECK: scf.for
// CHECK: call @[[$ZERO]](
func.func @products(%x: memref<?x64xf32>, %w: memref<4x64x32xf32>, %b: memref<100xf32>, %y: memref<?x100xf32>,
                    %q: memref<?x?x64xf32>, %k: memref<?x?x64xf32>, %s: memref<?x?x?xf32>) {
  kernel.linear ins(%x, %w, %b : memref<?x64xf32>, memref<4x64x32xf32>, memref<100xf32>) outs(%y : memref<?x100xf32>)
  kernel.linear ins(%x, %w : memref<?x64xf32>, memref<4x64x32xf32>) outs(%y : memref<?x100xf32>)
  kernel.batch_matmul ins(%q, %k : memref<?x?x64xf32>, memref<?x?x64xf32>) outs(%s : memref<?x?x?xf32>) {transpose_rhs}
  return
}

// Packing is loops alone.
// CHECK-LABEL: func.func @pack
// CHECK-NOT: call
// CHECK: kernel.parallel
// CHECK: memref.store
func.func @pack(%w: memref<64x100xf32>, %p: memref<4x64x32xf32>) {
  kernel.pack ins(%w : memref<64x100xf32>) outs(%p : memref<4x64x32xf32>)
  return
}

// What is no product stays.
// CHECK-LABEL: func.func @untouched
// CHECK-NEXT: memref.copy
// CHECK-NEXT: return
func.func @untouched(%x: memref<4xf32>, %y: memref<4xf32>) {
  memref.copy %x, %y : memref<4xf32> to memref<4xf32>
  return
}

// CHECK: func.func private @[[$ZERO]](
// CHECK: vector<16xf32>
