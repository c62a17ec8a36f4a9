// RUN: adapter-opt %s --kernel-lower-products="lanes=8 rows=6" | FileCheck %s
// RUN: adapter-opt %s --kernel-lower-products="lanes=8 rows=6" | FileCheck %s --check-prefix=TILE

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

// Many tiles bring the next panel near, a line in four steps of K each; the last ones, or all if the panel is small.
// A few tiles, and the one of the rest, bring all of it. Nothing is brought beyond the last whole steps.
// TILE: func.func private @kernel.tile
// TILE: %[[NEXT:.+]] = arith.minui
// TILE: %[[MANY:.+]] = arith.cmpi uge
// TILE: scf.if %[[MANY]] {
// TILE: %[[UPCOMING:.+]] = arith.select %{{.+}}, %[[NEXT]], %{{.+}} : index
// TILE: scf.for
// TILE: memref.prefetch %{{.+}}[%[[UPCOMING]], %{{.+}}, %{{.+}}], read
// TILE-NOT: memref.prefetch
// TILE: } else {
// TILE: scf.for
// TILE-COUNT-4: memref.prefetch %{{.+}}[%[[NEXT]], %{{.+}}, %{{.+}}], read
// TILE-NOT: memref.prefetch
// TILE: scf.index_switch
