// RUN: adapter-opt %s --kernel-free-buffers | FileCheck %s

// After the last use of a view of it.
// CHECK-LABEL: func.func @view
func.func @view(%v: f32) -> f32 {
  %c0 = arith.constant 0 : index
  // CHECK: %[[A:.*]] = memref.alloc
  %a = memref.alloc() : memref<8xf32>
  // CHECK: %[[R:.*]] = kernel.reshape %[[A]]
  %r = kernel.reshape %a [] : memref<8xf32> to memref<2x4xf32>
  memref.store %v, %a[%c0] : memref<8xf32>
  // CHECK: memref.load %[[R]]
  // CHECK-NEXT: memref.dealloc %[[A]]
  %x = memref.load %r[%c0, %c0] : memref<2x4xf32>
  %y = arith.addf %x, %x : f32
  return %y : f32
}

// After the loop that uses it, not inside.
// CHECK-LABEL: func.func @loop
func.func @loop(%v: f32, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  // CHECK: %[[A:.*]] = memref.alloc
  %a = memref.alloc(%n) : memref<?xf32>
  // CHECK: scf.for
  scf.for %i = %c0 to %n step %c1 {
    // CHECK: memref.store
    // CHECK-NOT: memref.dealloc
    memref.store %v, %a[%i] : memref<?xf32>
  }
  // CHECK: }
  // CHECK-NEXT: memref.dealloc %[[A]]
  return
}

// What the function returns stays, by a view too.
// CHECK-LABEL: func.func @returned
// CHECK-NOT: memref.dealloc
func.func @returned() -> (memref<8xf32>, memref<2x4xf32>) {
  %a = memref.alloc() : memref<8xf32>
  %b = memref.alloc() : memref<8xf32>
  %r = kernel.reshape %b [] : memref<8xf32> to memref<2x4xf32>
  return %a, %r : memref<8xf32>, memref<2x4xf32>
}
