// RUN: adapter-opt %s --pass-pipeline='builtin.module(gpu.module(kernel-lower-device-memory))' | FileCheck %s

// No memref is left, and no function that conversions would look for in a vendor's library.
// CHECK:       llvm.mlir.global internal @k0_shared0() {addr_space = 3 : i32{{.*}}} : !llvm.array<32 x f32>
// CHECK-LABEL: gpu.func @k0(
// CHECK-SAME:    %[[X:.*]]: !llvm.ptr<1>, %[[M:.*]]: !llvm.ptr<1>, %{{.*}}: i32)
// CHECK:         llvm.load %{{.*}} : !llvm.ptr<1> -> f32
// CHECK:         llvm.call_intrinsic "llvm.sqrt"
// CHECK:         llvm.store %{{.*}}, %{{.*}} : f32, !llvm.ptr<3>
// CHECK:         llvm.load %{{.*}} : !llvm.ptr<1> -> i8
// CHECK:         arith.trunci %{{.*}} : i8 to i1
// CHECK-NOT:     memref
gpu.module @kernels {
  gpu.func @k0(%x: memref<?xf32, #gpu.address_space<global>>, %m: memref<?xi1, #gpu.address_space<global>>, %n: i32) workgroup(%s: memref<32xf32, #gpu.address_space<workgroup>>) kernel attributes {known_block_size = array<i32: 32, 1, 1>} {
    %i = arith.index_cast %n : i32 to index
    %v = memref.load %x[%i] : memref<?xf32, #gpu.address_space<global>>
    %q = math.sqrt %v : f32
    memref.store %q, %s[%i] : memref<32xf32, #gpu.address_space<workgroup>>
    %b = memref.load %m[%i] : memref<?xi1, #gpu.address_space<global>>
    memref.store %b, %m[%i] : memref<?xi1, #gpu.address_space<global>>
    gpu.return
  }
}
