// RUN: adapter-opt %s --kernel-lower-calls | FileCheck %s

// CHECK: llvm.mlir.global internal constant @kernel.message0("sizes differ\00")

// A failed assert tells the host and leaves the function.
// CHECK-LABEL: func.func @check
// CHECK-SAME: (%{{.*}}: !llvm.ptr, %[[C:.*]]: i1) -> i32
// CHECK: cf.cond_br %[[C]], ^[[GOOD:.*]], ^[[BAD:.*]]
// CHECK: ^[[GOOD]]:
// CHECK: ^[[BAD]]:
// CHECK: llvm.mlir.addressof @kernel.message0
// CHECK: %[[NONE:.*]] = llvm.mlir.constant(0 : i32)
// CHECK: llvm.call @kernel.fail(%{{.*}}, %{{.*}}, %[[NONE]],
// CHECK: ub.poison : i32
func.func @check(%frame: !llvm.ptr, %c: i1) -> i32 {
  cf.assert %c, "sizes differ"
  %one = arith.constant 1 : i32
  return %one : i32
}

// What a message is to say of the call is made where it fails.
// CHECK-LABEL: func.func @values
// CHECK-SAME: (%{{.*}}: !llvm.ptr, %{{.*}}: i1, %[[N:.*]]: index)
// CHECK-NEXT: cf.cond_br
// CHECK: %[[VALUE:.*]] = arith.index_cast %[[N]] : index to i64
// CHECK: %[[ONE:.*]] = llvm.mlir.constant(1 : i32)
// CHECK: llvm.call @kernel.fail(%{{.*}}, %{{.*}}, %[[ONE]], %[[VALUE]],
func.func @values(%frame: !llvm.ptr, %c: i1, %n: index) {
  kernel.require %c, "{0} is odd" (%n)
  return
}

// CHECK-LABEL: func.func @parameter
// CHECK-SAME: (%[[FRAME:.*]]: !llvm.ptr)
// CHECK: llvm.load %{{.*}} : !llvm.ptr -> !llvm.ptr
// CHECK: builtin.unrealized_conversion_cast %{{.*}} to memref<4x8xf32>
func.func @parameter(%frame: !llvm.ptr) -> memref<4x8xf32> {
  %w = kernel.parameter 2 : memref<4x8xf32>
  return %w : memref<4x8xf32>
}

// Strides of a view follow from its sizes.
// CHECK-LABEL: func.func @reshape
// CHECK-SAME: (%{{.*}}: !llvm.ptr, %[[X:.*]]: memref<?xf32>, %[[N:.*]]: index, %[[M:.*]]: index)
// CHECK: memref.reinterpret_cast %[[X]] to offset: [0], sizes: [%[[N]], %[[M]], 4], strides: [%{{.*}}, 4, 1]
func.func @reshape(%frame: !llvm.ptr, %x: memref<?xf32>, %n: index, %m: index) -> memref<?x?x4xf32> {
  %y = kernel.reshape %x [%n, %m] : memref<?xf32> to memref<?x?x4xf32>
  return %y : memref<?x?x4xf32>
}

// Nothing of the kind: nothing changes.
// CHECK-LABEL: func.func @untouched
// CHECK-SAME: (%{{.*}}: !llvm.ptr, %[[X:.*]]: f32) -> f32
// CHECK-NEXT: return %[[X]]
func.func @untouched(%frame: !llvm.ptr, %x: f32) -> f32 {
  return %x : f32
}
