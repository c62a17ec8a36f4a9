// RUN: adapter-opt %s --kernel-prepare-spirv | FileCheck %s

// Buffers alone, scalars in one more; booleans are bytes; a loop without iterations keeps what it started with.
// CHECK-LABEL: gpu.func @k0(
// CHECK-SAME:    %[[X:.*]]: memref<?xf32, #spirv.storage_class<StorageBuffer>>, %[[M:.*]]: memref<?xi8, #spirv.storage_class<StorageBuffer>>, %[[WORDS:.*]]: memref<?xi32, #spirv.storage_class<StorageBuffer>>)
// CHECK-SAME:    spirv.entry_point_abi = #spirv.entry_point_abi<workgroup_size = [32, 1, 1]>
// CHECK-DAG:     memref.alloc() : memref<32xf32, #spirv.storage_class<Workgroup>>
// CHECK-DAG:     memref.load %[[WORDS]][%c0
// CHECK-DAG:     memref.load %[[WORDS]][%c1
// CHECK:         %[[SUM:.*]] = scf.for
// CHECK:         %[[RUNS:.*]] = arith.cmpi slt
// CHECK:         %[[KEPT:.*]] = arith.select %[[RUNS]], %[[SUM]], %{{.*}} : f32
// CHECK:         memref.store %[[KEPT]]
// CHECK:         memref.load %[[M]]{{.*}} : memref<?xi8
gpu.module @kernels {
  gpu.func @k0(%x: memref<?xf32, #gpu.address_space<global>>, %m: memref<?xi1, #gpu.address_space<global>>, %n: i32, %k: i32) workgroup(%s: memref<32xf32, #gpu.address_space<workgroup>>) kernel attributes {known_block_size = array<i32: 32, 1, 1>} {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    %zero = arith.constant 0.0 : f32
    %i = arith.index_cast %n : i32 to index
    %j = arith.index_cast %k : i32 to index
    %sum = scf.for %at = %c0 to %i step %c1 iter_args(%a = %zero) -> f32 {
      %v = memref.load %x[%at] : memref<?xf32, #gpu.address_space<global>>
      %b = arith.addf %a, %v : f32
      scf.yield %b : f32
    }
    memref.store %sum, %s[%j] : memref<32xf32, #gpu.address_space<workgroup>>
    %b = memref.load %m[%i] : memref<?xi1, #gpu.address_space<global>>
    memref.store %b, %m[%j] : memref<?xi1, #gpu.address_space<global>>
    gpu.return
  }
}
