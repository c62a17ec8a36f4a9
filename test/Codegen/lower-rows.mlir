// RUN: adapter-opt %s --kernel-lower-products | FileCheck %s

// Each segment has assignments, one after the other. What several make is made beside the output, from what the base
// made; one alone, with a weight of one, changes the output itself.
// CHECK-LABEL: func @linear
func.func @linear(%x: memref<?x4xf32>, %y: memref<?x8xf32>) {
  // CHECK: %[[BANK:.*]] = kernel.bank 0
  // CHECK: %[[SEGMENTS:.*]] = kernel.segment_count
  // CHECK: kernel.parallel %[[SEGMENTS]]
  // CHECK: %[[BEGIN:.*]], %[[END:.*]], %[[FIRST:.*]], %[[COUNT:.*]] = kernel.segment
  // CHECK: %[[OUT:.*]] = memref.subview
  // CHECK: %[[ONE:.*]]:2 = scf.if
  // CHECK: scf.yield %[[OUT]], %[[OUT]]
  // CHECK: else
  // CHECK: memref.alloc
  // CHECK: memref.alloc
  // CHECK: scf.for
  // CHECK: %[[SLOT:.*]], %[[WEIGHT:.*]] = kernel.assignment
  // CHECK: kernel.entry_has %[[SLOT]] of %[[BANK]][4]
  // CHECK: arith.subf
  // CHECK: arith.mulf %{{.*}}, %[[WEIGHT]]
  // CHECK: arith.addf
  // CHECK-COUNT-2: memref.dealloc
  kernel.row_linear ins(%x : memref<?x4xf32>) outs(%y : memref<?x8xf32>) {accumulate, bank = 0 : i64}
  return
}
