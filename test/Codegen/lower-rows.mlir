// RUN: adapter-opt %s --split-input-file --kernel-lower-products | FileCheck %s

// Without segments a product and nothing else. With them the way down comes first, piece by piece of the survey's table;
// then, block by block of columns, the base's product over all rows and what segments add to it; last, elements.
// CHECK-LABEL: func.func @linear
// CHECK: %[[BANK:.*]] = kernel.bank 0
// CHECK: %[[SEGMENTS:.*]] = kernel.segment_count
// CHECK: %[[SOME:.*]] = arith.cmpi ugt, %[[SEGMENTS]]
// CHECK: scf.if %[[SOME]]
// CHECK:   %[[TABLE:.*]] = memref.alloc({{.*}}) : memref<?x4xindex>
// CHECK:   %[[SURVEY:.*]]:4 = {{.*}}call @kernel.survey_rows(%[[BANK]], %{{.*}}, %[[TABLE]])
// CHECK:   %[[INNER:.*]] = memref.alloc(%{{.*}}, %[[SURVEY]]#0) : memref<?x?xf32>
// CHECK:   kernel.parallel
// CHECK:     %[[SLOT:.*]], %[[WEIGHT:.*]] = kernel.assignment
// CHECK:     %[[FACTOR:.*]] = arith.select %{{.*}}, %[[WEIGHT]], %{{.*}} : f32
// CHECK:     kernel.entry_tensor %[[SLOT]] of %[[BANK]][0]
// CHECK:     call @kernel.tile_down({{.*}}, %[[FACTOR]])
// CHECK:   kernel.parallel
// A segment that has a weight of its own, then the whole tiles of one with factors; the base's rows between them.
// CHECK:     scf.for
// CHECK:       scf.if
// CHECK:         call @kernel.tile_bias(
// CHECK:         kernel.entry_tensor %{{.*}} of %[[BANK]][4]
// CHECK:         call @kernel.tile_bias(
// CHECK:       scf.if
// CHECK:         call @kernel.tile_bias(
// CHECK:         kernel.entry_tensor %{{.*}} of %[[BANK]][1]
// CHECK:         call @kernel.tile_bias_with_factors(
// CHECK:     call @kernel.tile_bias(
// What is left of segments, and what is more than factors.
// CHECK:     scf.for
// CHECK:       call @kernel.tile_accumulate(
// CHECK:       call @kernel.tile_accumulate(
// CHECK:       kernel.entry_tensor %{{.*}} of %[[BANK]][2]
// The bias is not scaled.
// CHECK:       arith.subf
// CHECK:       arith.mulf
// CHECK:       arith.addf
// CHECK:   %[[PIECES:.*]] = arith.select %[[SURVEY]]#3
// CHECK:   kernel.parallel %[[PIECES]]
// CHECK:     kernel.entry_tensor %{{.*}} of %[[BANK]][5]
// CHECK-COUNT-4: memref.dealloc
// CHECK: } else {
// CHECK:   kernel.parallel
// CHECK-NOT: kernel.segment
// CHECK:     call @kernel.tile_bias(
// CHECK: return
func.func @linear(%x: memref<?x4xf32>, %w: memref<1x4x32xf32>, %b: memref<8xf32>, %y: memref<?x8xf32>) {
  kernel.row_linear ins(%x : memref<?x4xf32>) weight(%w : memref<1x4x32xf32>) bias(%b : memref<8xf32>) outs(%y : memref<?x8xf32>) {bank = 0 : i64}
  return
}

// The table has segments, then pieces of at most a tile's rows.
// CHECK-LABEL: func.func private @kernel.survey_rows
// CHECK: scf.for
// CHECK: kernel.segment
// CHECK: memref.store
// CHECK: scf.for
// CHECK: kernel.assignment
// CHECK: scf.for
// CHECK: memref.store

// The way down is one vector of columns, with two sums for each row.
// CHECK-LABEL: func.func private @kernel.tile_down
// CHECK-SAME: memref<?x?x16xf32>
// CHECK: scf.for
// CHECK: scf.for {{.*}} -> ({{(vector<16xf32>, )+vector<16xf32>\)}}
// CHECK-COUNT-48: vector.fma

// Two products in the same accumulators.
// CHECK-LABEL: func.func private @kernel.tile_bias_with_factors
// CHECK: scf.for
// CHECK: scf.for {{.*}} step %c4
// CHECK: vector.fma
// CHECK: scf.for
// CHECK: scf.for {{.*}} step %c4
// CHECK: vector.fma
// CHECK: vector.store
// CHECK-NOT: vector.maskedstore
// CHECK: return

// -----

// What is added to a product has no base and no way without segments.
// CHECK-LABEL: func.func @accumulate
// CHECK: scf.if
// CHECK: kernel.parallel
// CHECK: kernel.parallel
// CHECK-NOT: call @kernel.tile_bias
// CHECK: call @kernel.tile_accumulate(
// CHECK: kernel.parallel
// CHECK-NOT: else
// CHECK: return
func.func @accumulate(%x: memref<?x4xf32>, %y: memref<?x8xf32>) {
  kernel.row_linear ins(%x : memref<?x4xf32>) outs(%y : memref<?x8xf32>) {accumulate, bank = 0 : i64}
  return
}

// -----

// Several assignments of a segment act on copies of what the base made, one after the other.
// CHECK-LABEL: func.func @bottleneck
// CHECK: kernel.segment_count
// CHECK: kernel.parallel
// CHECK: %{{.*}}:2 = scf.if
// CHECK: else
// CHECK: memref.alloc
// CHECK: memref.alloc
func.func @bottleneck(%x: memref<?x8xf32>, %y: memref<?x8xf32>) {
  kernel.row_bottleneck ins(%x : memref<?x8xf32>) outs(%y : memref<?x8xf32>) {accumulate, bank = 0 : i64, forms = ["bottleneck+relu"]}
  return
}
