// RUN: adapter-opt %s --kernel-lower-calls | FileCheck %s

// The host is asked with the result's number and shape; without memory the call fails.
// CHECK: llvm.mlir.global internal constant @[[TEXT:.*]]("out of memory\00")
// CHECK-LABEL: func.func @entry(%{{.*}}: !llvm.ptr, %{{.*}}: index)
func.func @entry(%frame: !llvm.ptr, %n: index) {
  %c0 = arith.constant 0 : index
  %v = arith.constant 1.0 : f32
  // CHECK-DAG: %[[NUMBER:.*]] = llvm.mlir.constant(3 : i32)
  // CHECK-DAG: %[[RANK:.*]] = llvm.mlir.constant(2 : i32)
  // CHECK: %[[DATA:.*]] = llvm.call %{{.*}}(%{{.*}}, %[[NUMBER]], %[[RANK]], %{{.*}}) :
  // CHECK: %[[HAS:.*]] = llvm.icmp "ne" %[[DATA]]
  // CHECK: cf.cond_br %[[HAS]], ^[[REST:.*]], ^[[FAIL:.*]]
  %y = kernel.output 3 [%n] : memref<?x4xf32>
  // CHECK: ^[[REST]]:
  // CHECK: memref.store
  memref.store %v, %y[%c0, %c0] : memref<?x4xf32>
  return
  // CHECK: ^[[FAIL]]:
  // CHECK: llvm.call @kernel.fail
}
