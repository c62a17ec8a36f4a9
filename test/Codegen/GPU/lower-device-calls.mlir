// RUN: adapter-opt %s --kernel-lower-device-calls | FileCheck %s

// A device buffer becomes a memref whose pointer is the handle; each use of the device is a call through the table.
// CHECK-LABEL: func.func @graph
// CHECK-SAME:    %[[FRAME:.*]]: !llvm.ptr
// CHECK:         %[[HANDLE:.*]] = llvm.call %{{.*}}(%{{.*}}, %{{.*}}, %{{.*}}) : !llvm.ptr, (!llvm.ptr, i64, i64) -> !llvm.ptr
// CHECK:         kernel.reshape %{{.*}} : memref<1xf32> to memref<?x8xf32>
// CHECK:         llvm.call %{{.*}}(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) : !llvm.ptr, (!llvm.ptr, !llvm.ptr, i64, !llvm.ptr, i64) -> ()
// CHECK:         llvm.call %{{.*}} : !llvm.ptr, (!llvm.ptr, i64, i64, !llvm.ptr, !llvm.ptr) -> ()
// CHECK:         %[[FAILED:.*]] = llvm.call %{{.*}} : !llvm.ptr, (!llvm.ptr, !llvm.ptr, i64, !llvm.ptr, i64) -> i32
// CHECK:         llvm.or %{{.*}}, %[[FAILED]]
// CHECK-NOT:     address_space
// CHECK:         return
module attributes {gpu.container_module, kernel.table = [{buffers = 1 : i64, name = "k0", scalars = 1 : i64, threads = 32 : i64}]} {
  func.func @graph(%frame: !llvm.ptr, %x: memref<?x8xf32>, %n: index, %w: i32) attributes {adapter.parameters = []} {
    %c1 = arith.constant 1 : index
    %c32 = arith.constant 32 : index
    %y = memref.alloc(%n) : memref<?x8xf32, #gpu.address_space<global>>
    gpu.memcpy %y, %x : memref<?x8xf32, #gpu.address_space<global>>, memref<?x8xf32>
    %flat = memref.reinterpret_cast %y to offset: [0], sizes: [%n], strides: [1] : memref<?x8xf32, #gpu.address_space<global>> to memref<?xf32, #gpu.address_space<global>>
    gpu.launch_func @kernels::@k0 blocks in (%n, %c1, %c1) threads in (%c32, %c1, %c1) args(%flat : memref<?xf32, #gpu.address_space<global>>, %w : i32)
    gpu.memcpy %x, %y : memref<?x8xf32>, memref<?x8xf32, #gpu.address_space<global>>
    return
  }
  gpu.module @kernels {
    gpu.func @k0(%x: memref<?xf32, #gpu.address_space<global>>, %w: i32) kernel {
      gpu.return
    }
  }
}
