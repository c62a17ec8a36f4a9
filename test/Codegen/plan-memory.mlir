// RUN: adapter-opt %s --kernel-plan-memory --canonicalize --cse --split-input-file | FileCheck %s

// A chain: no more than two buffers live at a time, so the third lies where the first was.
// CHECK-LABEL: func.func private @chain(
// CHECK-SAME: %[[X:.*]]: memref<?x16xf32>)
func.func private @chain(%x: memref<?x16xf32>) {
  %c0 = arith.constant 0 : index
  // CHECK-DAG: %[[C0:.*]] = arith.constant 0 : index
  // CHECK-DAG: %[[ROW:.*]] = arith.constant 64 : index
  // CHECK-DAG: %[[N:.*]] = memref.dim %[[X]], %[[C0]]
  // CHECK: %[[LOW:.*]], %[[HIGH:.*]] = arith.mului_extended %[[N]], %[[ROW]]
  // CHECK: %[[BYTES:.*]] = arith.select
  // CHECK: %[[TWO:.*]] = arith.addi %[[BYTES]], %[[BYTES]]
  // CHECK: %[[TOTAL:.*]] = arith.maxui %[[BYTES]], %[[TWO]]
  // CHECK: %[[ARENA:.*]] = memref.alloc(%[[TOTAL]]) {alignment = 64 : i64} : memref<?xi8>
  %n = memref.dim %x, %c0 : memref<?x16xf32>
  // CHECK-DAG: %[[A:.*]] = memref.view %[[ARENA]][%[[C0]]][%[[N]]] : memref<?xi8> to memref<?x16xf32>
  %a = memref.alloc(%n) : memref<?x16xf32>
  memref.copy %x, %a : memref<?x16xf32> to memref<?x16xf32>
  // CHECK: %[[B:.*]] = memref.view %[[ARENA]][%[[BYTES]]][%[[N]]]
  %b = memref.alloc(%n) : memref<?x16xf32>
  // CHECK: memref.copy %[[A]], %[[B]]
  memref.copy %a, %b : memref<?x16xf32> to memref<?x16xf32>
  %c = memref.alloc(%n) : memref<?x16xf32>
  // CHECK: memref.copy %[[B]], %[[A]]
  memref.copy %b, %c : memref<?x16xf32> to memref<?x16xf32>
  // CHECK: memref.dealloc %[[ARENA]]
  // CHECK-NEXT: return
  return
}

// -----

// A result is written where the caller wants it, in its own shape; the check before a division may come later.
// CHECK-LABEL: func.func @result(
// CHECK-SAME: kernel.placed = array<i64: 0>
func.func @result(%x: memref<?xf32>, %d: index) -> memref<?x2xf32> {
  %c0 = arith.constant 0 : index
  // CHECK: %[[ZERO:.*]] = arith.cmpi eq, %{{.*}}, %{{.*}} : index
  // CHECK: %[[DIVISOR:.*]] = arith.select %[[ZERO]]
  // CHECK: %[[M:.*]] = arith.divui %{{.*}}, %[[DIVISOR]]
  %n = memref.dim %x, %c0 : memref<?xf32>
  // CHECK: cf.assert
  %valid = arith.cmpi ne, %d, %c0 : index
  cf.assert %valid, "no divisor"
  %m = arith.divui %n, %d : index
  // CHECK: %[[OUT:.*]] = kernel.output 0[%[[M]]] : memref<?x2xf32>
  // CHECK: %[[FLAT:.*]] = kernel.reshape %[[OUT]]
  // CHECK-NOT: memref.alloc
  %a = memref.alloc(%n) : memref<?xf32>
  // CHECK: memref.copy %{{.*}}, %[[FLAT]]
  memref.copy %x, %a : memref<?xf32> to memref<?xf32>
  %r = kernel.reshape %a [%m] : memref<?xf32> to memref<?x2xf32>
  return %r : memref<?x2xf32>
}

// -----

// A size that is read from memory is known too late: that buffer stays, the other has a place.
// CHECK-LABEL: func.func private @late(
func.func private @use(memref<?xf32>)
func.func private @late(%x: memref<?xf32>, %count: memref<index>) {
  %c0 = arith.constant 0 : index
  %n = memref.dim %x, %c0 : memref<?xf32>
  // CHECK: memref.alloc({{.*}} : memref<?xi8>
  // CHECK: %[[M:.*]] = memref.load
  %m = memref.load %count[] : memref<index>
  // CHECK: %[[A:.*]] = memref.alloc(%[[M]]) : memref<?xf32>
  %a = memref.alloc(%m) : memref<?xf32>
  call @use(%a) : (memref<?xf32>) -> ()
  // CHECK: memref.view
  %b = memref.alloc(%n) : memref<?xf32>
  call @use(%b) : (memref<?xf32>) -> ()
  return
}

// -----

// Nothing to plan: what is returned twice is copied by the entry point, what an argument is stays one.
// CHECK-LABEL: func.func @untouched(
// CHECK-NOT: kernel.placed
// CHECK-NOT: memref.alloc
// CHECK: return
func.func @untouched(%x: memref<?xf32>) -> memref<?xf32> {
  return %x : memref<?xf32>
}

// -----

// Buffers that meet within a region do not share a place.
// CHECK-LABEL: func.func private @region(
func.func private @region(%x: memref<8xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  // CHECK: %[[ARENA:.*]] = memref.alloc() {alignment = 64 : i64} : memref<128xi8>
  %a = memref.alloc() : memref<8xf32>
  %b = memref.alloc() : memref<8xf32>
  // CHECK-DAG: memref.view %[[ARENA]][%{{.*}}][]
  // CHECK-DAG: memref.view %[[ARENA]][%{{.*}}][]
  scf.for %i = %c0 to %n step %c1 {
    memref.copy %x, %a : memref<8xf32> to memref<8xf32>
    memref.copy %a, %b : memref<8xf32> to memref<8xf32>
  }
  return
}
