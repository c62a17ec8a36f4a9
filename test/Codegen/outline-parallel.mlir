// RUN: adapter-opt %s --kernel-outline-parallel | FileCheck %s

// Equal bodies are one function; the frame of the call goes first everywhere.
// CHECK-LABEL: func.func @two_layers
// CHECK-SAME: (%[[FRAME:.*]]: !llvm.ptr, %[[X:.*]]: memref<?xf32>, %[[Y:.*]]: memref<?xf32>
// CHECK-SAME: kernel.entry = {inputs = [memref<?xf32>, memref<?xf32>, index], outputs = [], placed = array<i64>, symbol = "{{.*}}"}
// CHECK-NOT: kernel.parallel
// CHECK: call @kernel.launch0(%[[FRAME]], %{{.*}}, %{{.*}}, %[[X]])
// CHECK: call @kernel.launch0(%[[FRAME]], %{{.*}}, %{{.*}}, %[[Y]])
// CHECK: call @kernel.launch1(
func.func @two_layers(%x: memref<?xf32>, %y: memref<?xf32>, %n: index) {
  %one = arith.constant 1.0 : f32
  kernel.parallel %n grain %n {
  ^bb0(%i: index):
    memref.store %one, %x[%i] : memref<?xf32>
  }
  kernel.parallel %n grain %n {
  ^bb0(%i: index):
    memref.store %one, %y[%i] : memref<?xf32>
  }
  // A loop inside a parallel loop runs in its thread.
  kernel.parallel %n grain %n {
  ^bb0(%i: index):
    kernel.parallel %n grain %n {
    ^bb0(%j: index):
      memref.store %one, %y[%j] : memref<?xf32>
    }
  }
  return
}
// Nothing parallel: only the frame comes in, and calls hand it on. A private function is no entry.
// CHECK-LABEL: func.func private @helper(%{{.*}}: !llvm.ptr, %{{.*}}: f32) {
func.func private @helper(%x: f32) {
  return
}
// CHECK-LABEL: func.func @plain
// CHECK-SAME: (%[[F:.*]]: !llvm.ptr, %[[V:.*]]: f32)
// CHECK: call @helper(%[[F]], %[[V]]) : (!llvm.ptr, f32) -> ()
func.func @plain(%x: f32) {
  call @helper(%x) : (f32) -> ()
  return
}

// The bodies, and the declarations that get them.
// CHECK: func.func private @kernel.body0(%{{.*}}: !llvm.ptr, %[[BEGIN:.*]]: index, %[[END:.*]]: index, %[[B:.*]]: memref<?xf32>)
// CHECK: %[[ONE:.*]] = arith.constant 1.000000e+00 : f32
// CHECK: scf.for %[[I:.*]] = %[[BEGIN]] to %[[END]]
// CHECK: memref.store %[[ONE]], %[[B]][%[[I]]]
// CHECK: func.func private @kernel.launch0(!llvm.ptr, index, index, memref<?xf32>) attributes {kernel.launch = @kernel.body0, passthrough = ["noinline"]}
// CHECK: func.func private @kernel.body1
// CHECK-COUNT-2: scf.for
// CHECK-NOT: kernel.body2
