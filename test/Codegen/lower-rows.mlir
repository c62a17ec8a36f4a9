// RUN: adapter-opt %s --split-input-file --kernel-lower-products | FileCheck %s

// Without segments a product and nothing else. With them the way down comes first, piece by piece of the survey's table;
// then, block by block of columns, the base's product over all rows and what segments add to it; last, elements. Steps
// come before all of it and behind it, if some entry has them.
// CHECK-LABEL: func.func @linear
// CHECK: %[[BANK:.*]] = kernel.bank 0
// CHECK: %[[SEGMENTS:.*]] = kernel.segment_count
// CHECK: %[[SOME:.*]] = arith.cmpi ugt, %[[SEGMENTS]]
// CHECK: scf.if %[[SOME]]
// CHECK:   %[[TABLE:.*]] = memref.alloc({{.*}}) : memref<?x4xindex>
// CHECK:   %[[SURVEY:.*]]:7 = {{.*}}call @kernel.survey_rows(%[[BANK]], %{{.*}}, %[[TABLE]])
// CHECK:   %[[INNER:.*]] = memref.alloc(%{{.*}}, %[[SURVEY]]#0) : memref<?x?xf32>
// CHECK:   arith.select %[[SURVEY]]#5, %{{.*}} : memref<?x?xf32, strided<[?, 1], offset: ?>>
// CHECK:   scf.if %[[SURVEY]]#5
// CHECK:     call @kernel.rotate_rows_bias(%[[BANK]]
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
// CHECK:   scf.if %[[SURVEY]]#4
// CHECK:     call @kernel.finish_rows_bias(%[[BANK]]
// CHECK-COUNT-6: memref.dealloc
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

// Rows of segments whose one adapter has steps before the product; all others are copied.
// CHECK-LABEL: func.func private @kernel.rotate_rows_bias
// CHECK: kernel.parallel
// CHECK:   kernel.entry_extent %{{.*}} of %{{.*}}[5]
// CHECK:   scf.if
// CHECK:     vector.maskedstore
// CHECK:     kernel.entry_tensor %{{.*}} of %{{.*}}[7] ({{.*}}) : memref<?x12xi64>
// CHECK:     call @kernel.run_steps(
// CHECK:   vector.maskedstore

// A switch over kernels. Several rows share what they read of blocks.
// CHECK-LABEL: func.func private @kernel.run_steps
// CHECK: scf.for
// CHECK: scf.index_switch
// CHECK: case 2
// CHECK: scf.for {{.*}} -> (vector<16xf32>, vector<16xf32>
// CHECK: case 3
// CHECK: case 4

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

// With a weight, that of rows which steps make is multiplied once more in place of the product that was there.
// CHECK-LABEL: func.func @accumulate_rotated
// CHECK: call @kernel.rotate_rows(
// CHECK: kernel.entry_extent %{{.*}} of %{{.*}}[5]
// CHECK: call @kernel.tile(
// CHECK: return
func.func @accumulate_rotated(%x: memref<?x4xf32>, %w: memref<1x4x32xf32>, %y: memref<?x8xf32>) {
  kernel.row_linear ins(%x : memref<?x4xf32>) weight(%w : memref<1x4x32xf32>) outs(%y : memref<?x8xf32>) {accumulate, bank = 0 : i64}
  return
}

// Behind the product: the bias is no step's. What is not all of a change is made beside the output, of rows that are
// rotated once more.
// CHECK-LABEL: func.func private @kernel.finish_rows
// CHECK: kernel.parallel
// CHECK:   scf.if
// CHECK:     call @kernel.run_steps(
// CHECK:   } else {
// CHECK:     call @kernel.run_steps(
// CHECK:     call @kernel.tile(
// CHECK:     call @kernel.tile_accumulate(
// CHECK:     call @kernel.run_steps(
// CHECK:     vector.broadcast

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
  kernel.row_bottleneck ins(%x : memref<?x8xf32>) outs(%y : memref<?x8xf32>) {accumulate, bank = 0 : i64, bottlenecks = [#adapter.bottleneck<relu>]}
  return
}
