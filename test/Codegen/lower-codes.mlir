// RUN: adapter-opt %s --kernel-lower-products=vectors=2\ rows=4 | FileCheck %s
// RUN: adapter-opt %s --kernel-lower-products=vectors=2\ rows=4\ integer-activations=false | FileCheck %s --check-prefix=FLOAT

// CHECK-LABEL: func.func @codes
// CHECK-NOT: kernel.repack
// CHECK-NOT: kernel.dequantize
func.func @codes(%c: memref<40x32xi8>, %s: memref<40x2xf32>, %w: memref<2x2x640xi8>, %f: memref<64x40xf32>) {
  kernel.repack ins(%c, %s : memref<40x32xi8>, memref<40x2xf32>) zeros(%s : memref<40x2xf32>) outs(%w : memref<2x2x640xi8>) {block = 32 : i64, format = #kernel.format<int4, zeros>}
  kernel.dequantize ins(%c, %s : memref<40x32xi8>, memref<40x2xf32>) outs(%f : memref<64x40xf32>) {block = 32 : i64, format = #kernel.format<int4>, transposed}
  return
}

// Zero points: what repays them is each column's.
// CHECK-LABEL: func.func @zeros
// CHECK: call @kernel.round_rows_1(
// CHECK: call @kernel.tile_int4_32_zeros_integers(
func.func @zeros(%x: memref<?x64xf32>, %w: memref<2x2x640xi8>, %y: memref<?x40xf32>) {
  kernel.linear ins(%x, %w : memref<?x64xf32>, memref<2x2x640xi8>) outs(%y : memref<?x40xf32>) {format = #kernel.format<int4, zeros>}
  return
}

// K ends within a group: rows go on with zeros.
// CHECK-LABEL: func.func @partial
// CHECK: call @kernel.round_rows_8_end(
// CHECK: call @kernel.tile_int4_32_f32_integers(
// FLOAT-LABEL: func.func @partial
// FLOAT: memref.alloc(%{{.*}}, %{{.*}}) : memref<?x?xf32>
// FLOAT: call @kernel.tile_int4_32_f32(
func.func @partial(%x: memref<?x40xf32>, %w: memref<2x2x640xi8>, %y: memref<?x40xf32>) {
  kernel.linear ins(%x, %w : memref<?x40xf32>, memref<2x2x640xi8>) outs(%y : memref<?x40xf32>) {format = #kernel.format<int4, scales = f32>, kernel.partial_group = 40 : i64}
  return
}
