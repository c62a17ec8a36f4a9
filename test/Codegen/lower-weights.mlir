// RUN: adapter-opt %s --kernel-lower-products | FileCheck %s
// RUN: adapter-opt %s --kernel-lower-products="lanes=8 rows=6 vectors=2" | FileCheck %s --check-prefix=WIDE

// A panel at a time: the product, then the lengths of its columns in f64, then their scaling.
// CHECK-LABEL: func.func @packed
// CHECK-NOT: kernel.update_weight
// CHECK: kernel.parallel
// CHECK: call @[[$TILE:kernel.tile_onto32]](
// CHECK: scf.for
// CHECK: arith.extf %{{.*}} : vector<16xf32> to vector<16xf64>
// CHECK: math.sqrt
// CHECK: arith.select
// CHECK: scf.for
// CHECK: vector.store
// Panels need not be as wide as the products' tiles.
// WIDE-LABEL: func.func @packed
// WIDE: call @kernel.tile_onto32(
func.func @packed(%w: memref<?x?x32xf32>, %a: memref<?x?xf32>, %b: memref<?x?x32xf32>, %g: memref<?x1x32xf32>, %v: memref<?x?x32xf32>) {
  kernel.update_weight ins(%w : memref<?x?x32xf32>) factors(%a, %b : memref<?x?xf32>, memref<?x?x32xf32>) gain(%g : memref<?x1x32xf32>) outs(%v : memref<?x?x32xf32>) {unit}
  return
}

// A gain alone takes no product.
// CHECK-LABEL: func.func @scaled
// CHECK: kernel.parallel
// CHECK-NOT: call
// CHECK: vector.store
// CHECK: return
func.func @scaled(%w: memref<?x?x32xf32>, %g: memref<?x1x32xf32>, %v: memref<?x?x32xf32>) {
  kernel.update_weight ins(%w : memref<?x?x32xf32>) gain(%g : memref<?x1x32xf32>) outs(%v : memref<?x?x32xf32>)
  return
}

// A matrix by rows, all columns of some at a time.
// CHECK-LABEL: func.func @matrix
// CHECK: kernel.parallel
// CHECK: scf.for
// CHECK: call @[[$TILE]](
func.func @matrix(%w: memref<?x?xf32>, %a: memref<?x?xf32>, %b: memref<?x?x32xf32>, %v: memref<?x?xf32>) {
  kernel.update_weight ins(%w : memref<?x?xf32>) factors(%a, %b : memref<?x?xf32>, memref<?x?x32xf32>) outs(%v : memref<?x?xf32>)
  return
}
