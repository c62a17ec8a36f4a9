// RUN: adapter-opt %s --kernel-lower-products=vectors=2\ rows=4 | FileCheck %s --check-prefixes=CHECK,PORTABLE
// RUN: adapter-opt %s --kernel-lower-products=vectors=2\ rows=4\ vnni | FileCheck %s --check-prefixes=CHECK,VNNI
// RUN: adapter-opt %s --kernel-lower-products=vectors=2\ rows=4\ integer-activations=false | FileCheck %s --check-prefix=FLOAT
// RUN: adapter-opt %s --kernel-lower-products=vectors=2\ rows=4\ bf16-activations | FileCheck %s --check-prefix=ROUND
// RUN: adapter-opt %s --kernel-lower-products=vectors=2\ rows=4\ bf16-activations\ bf16 | FileCheck %s --check-prefix=PAIRS

// A weight of integers: rows are rounded once, then multiplied block by block of columns.
// CHECK-LABEL: func.func @integers
// CHECK: kernel.parallel
// CHECK: call @kernel.round_rows_8(
// CHECK: kernel.parallel
// CHECK: call @kernel.tile_int4_32_integers(
// CHECK: memref.dealloc
// FLOAT-LABEL: func.func @integers
// FLOAT-NOT: round_rows
// FLOAT: call @kernel.tile_int4_32(
func.func @integers(%x: memref<?x64xf32>, %w: memref<2x2x576xi8>, %y: memref<?x40xf32>) {
  kernel.linear ins(%x, %w : memref<?x64xf32>, memref<2x2x576xi8>) outs(%y : memref<?x40xf32>) {format = #kernel.format<int4>}
  return
}

// Rows are rounded where that is asked for; by one instruction for two products they are multiplied as pairs.
// CHECK-LABEL: func.func @floats
// CHECK: call @kernel.tile_bf16_2(
// ROUND-LABEL: func.func @floats
// ROUND: memref.alloc(%{{.*}}, %{{.*}}) : memref<?x?xf32>
// ROUND: call @kernel.round_rows_bf16(
// ROUND: call @kernel.tile_bf16_2(
// ROUND: memref.dealloc
// PAIRS-LABEL: func.func @floats
// PAIRS: memref.alloc(%{{.*}}, %{{.*}}) : memref<?x?xi32>
// PAIRS: call @kernel.round_rows_pairs(
// PAIRS: call @kernel.tile_bf16_2_pairs(
// PAIRS: memref.dealloc
func.func @floats(%x: memref<?x64xf32>, %w: memref<2x32x128xi8>, %y: memref<?x40xf32>) {
  kernel.linear ins(%x, %w : memref<?x64xf32>, memref<2x32x128xi8>) outs(%y : memref<?x40xf32>) {format = #kernel.format<bf16>}
  return
}

// CHECK-LABEL: func.func @there_and_back
// CHECK-NOT: kernel.encode
// CHECK-NOT: kernel.decode
func.func @there_and_back(%p: memref<?x?x32xf32>, %w: memref<?x?x1088xi8>, %q: memref<?x?x32xf32>) {
  kernel.encode ins(%p : memref<?x?x32xf32>) outs(%w : memref<?x?x1088xi8>) {format = #kernel.format<int8>}
  kernel.decode ins(%w : memref<?x?x1088xi8>) outs(%q : memref<?x?x32xf32>) {format = #kernel.format<int8>}
  return
}

// CHECK-LABEL: func.func private @kernel.tile_int4_32_integers
// VNNI: llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"
// PORTABLE-NOT: vpdpbusd

// PAIRS-LABEL: func.func private @kernel.tile_bf16_2_pairs
// PAIRS-NOT: vector.fma
// PAIRS: llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"
