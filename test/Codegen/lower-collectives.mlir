// RUN: adapter-opt %s --kernel-lower-calls | FileCheck %s

// CHECK: llvm.mlir.global internal constant @kernel.message0("experts: an exchange between processes failed\00")

// CHECK-LABEL: func.func @process
// CHECK: %[[R:.*]] = llvm.load %{{.*}} {alignment = 4 : i64} : !llvm.ptr -> i32
// CHECK: arith.index_cast %[[R]] : i32 to index
func.func @process(%frame: !llvm.ptr) -> index {
  %r = kernel.process
  return %r : index
}

// A failure of the exchange leaves the function, as a failed assert does. Rows of 16 bytes.
// CHECK-LABEL: func.func @rows
// CHECK: %[[DONE:.*]] = llvm.call %{{.*}}({{.*}}) : !llvm.ptr, (!llvm.ptr, !llvm.ptr, !llvm.ptr, !llvm.ptr, !llvm.ptr, i64) -> i32
// CHECK: %[[GOOD:.*]] = arith.cmpi eq, %[[DONE]]
// CHECK: cf.cond_br %[[GOOD]]
// CHECK: llvm.mlir.addressof @kernel.message0
func.func @rows(%frame: !llvm.ptr, %x: memref<?x4xf32>, %s: memref<2xi64>, %r: memref<2xi64>, %y: memref<?x4xf32>) {
  kernel.all_to_all_rows ins(%x, %s, %r : memref<?x4xf32>, memref<2xi64>, memref<2xi64>) outs(%y : memref<?x4xf32>)
  return
}

// The host is told if it listens.
// CHECK-LABEL: func.func @routed
// CHECK: %[[NULL:.*]] = llvm.mlir.zero
// CHECK: %[[LISTENS:.*]] = llvm.icmp "ne" %{{.*}}, %[[NULL]]
// CHECK: cf.cond_br %[[LISTENS]], ^[[TELL:.*]], ^[[REST:.*]]
// CHECK: ^[[TELL]]:
// CHECK: %[[LAYER:.*]] = llvm.mlir.constant(3 : i32)
// CHECK: llvm.call %{{.*}}(%{{.*}}, %[[LAYER]],
// CHECK: cf.br ^[[REST]]
func.func @routed(%frame: !llvm.ptr, %i: memref<?x2xi64>) {
  kernel.routed 3 %i : memref<?x2xi64>
  return
}
