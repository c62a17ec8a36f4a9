// RUN: adapter-opt %s --convert-kernel-to-gpu --canonicalize --split-input-file | FileCheck %s

#id = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d1)>
// One thread for each element; the kernel sees buffers of one dimension.
// CHECK-LABEL: func.func @elementwise
// CHECK:         %[[FLAT:.*]] = memref.reinterpret_cast %{{.*}} to offset: [0], sizes: [%{{.*}}], strides: [1]
// CHECK:         gpu.launch blocks(%{{.*}}, %{{.*}}, %{{.*}}) in {{.*}} threads({{.*}})
// CHECK:           scf.for
// CHECK:             memref.load %[[FLAT]][%{{.*}}] : memref<?xf32, #gpu.address_space<global>>
// CHECK:             arith.addf
// CHECK:             memref.store
// CHECK-NOT:     linalg.generic
func.func @elementwise(%x: memref<?x8xf32, #gpu.address_space<global>>, %b: memref<8xf32, #gpu.address_space<global>>, %y: memref<?x8xf32, #gpu.address_space<global>>) attributes {adapter.parameters = []} {
  linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]} ins(%x, %b : memref<?x8xf32, #gpu.address_space<global>>, memref<8xf32, #gpu.address_space<global>>) outs(%y : memref<?x8xf32, #gpu.address_space<global>>) {
  ^bb0(%p: f32, %q: f32, %out: f32):
    %s = arith.addf %p, %q : f32
    linalg.yield %s : f32
  }
  return
}

// -----

#id = affine_map<(d0, d1) -> (d0, d1)>
#left = affine_map<(d0, d1) -> (d0)>
// A reduction along memory is a group's: partial sums in shared memory, then a tree.
// CHECK-LABEL: func.func @along
// CHECK:         gpu.launch
// CHECK-SAME:      workgroup(%[[SHARED:.*]] : memref<64xf32, #gpu.address_space<workgroup>>)
// CHECK:           memref.store %{{.*}}, %[[SHARED]]
// CHECK:           gpu.barrier
// CHECK:           arith.addf
// CHECK:           gpu.barrier
func.func @along(%x: memref<?x?xf32, #gpu.address_space<global>>, %y: memref<?xf32, #gpu.address_space<global>>) attributes {adapter.parameters = []} {
  linalg.generic {indexing_maps = [#id, #left], iterator_types = ["parallel", "reduction"]} ins(%x : memref<?x?xf32, #gpu.address_space<global>>) outs(%y : memref<?xf32, #gpu.address_space<global>>) {
  ^bb0(%p: f32, %out: f32):
    %s = arith.addf %p, %out : f32
    linalg.yield %s : f32
  }
  return
}

// -----

#id = affine_map<(d0, d1) -> (d1, d0)>
#left = affine_map<(d0, d1) -> (d0)>
// Across memory neighbouring threads read neighbours already: one thread for each result.
// CHECK-LABEL: func.func @across
// CHECK:         gpu.launch
// CHECK-NOT:       gpu.barrier
// CHECK:           scf.for {{.*}} iter_args
func.func @across(%x: memref<?x?xf32, #gpu.address_space<global>>, %y: memref<?xf32, #gpu.address_space<global>>) attributes {adapter.parameters = []} {
  linalg.generic {indexing_maps = [#id, #left], iterator_types = ["parallel", "reduction"]} ins(%x : memref<?x?xf32, #gpu.address_space<global>>) outs(%y : memref<?xf32, #gpu.address_space<global>>) {
  ^bb0(%p: f32, %out: f32):
    %s = arith.addf %p, %out : f32
    linalg.yield %s : f32
  }
  return
}

// -----

#id = affine_map<(d0) -> (d0)>
// What follows a failed check is not done; the host asks once, at the end.
// CHECK-LABEL: func.func @check
// CHECK:         %[[STATUS:.*]] = memref.alloc() : memref<1xi32, #gpu.address_space<global>>
// CHECK:         memref.store %{{.*}}, %[[STATUS]]
// CHECK:         gpu.launch
// CHECK:           arith.minsi
// CHECK:           arith.maxsi
// CHECK:           %[[FINE:.*]] = arith.cmpi ult
// CHECK:           scf.if %[[FINE]] -> (f32)
// CHECK-NEXT:        memref.load
// CHECK:           } else {
// CHECK-NEXT:        memref.store %c1_i32
// CHECK:         %[[NUMBER:.*]] = memref.load %[[STATUS]]
// CHECK-NEXT:    %[[GOOD:.*]] = arith.cmpi ne, %[[NUMBER]], %c1_i32
// CHECK-NEXT:    kernel.require %[[GOOD]], "an index is out of range"
func.func @check(%x: memref<8xf32, #gpu.address_space<global>>, %i: memref<?xi64, #gpu.address_space<global>>, %y: memref<?xf32, #gpu.address_space<global>>) attributes {adapter.parameters = []} {
  %c8 = arith.constant 8 : index
  linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%i : memref<?xi64, #gpu.address_space<global>>) outs(%y : memref<?xf32, #gpu.address_space<global>>) {
  ^bb0(%p: i64, %out: f32):
    %at = arith.index_cast %p : i64 to index
    %fine = arith.cmpi ult, %at, %c8 : index
    kernel.require %fine, "an index is out of range"
    %v = memref.load %x[%at] : memref<8xf32, #gpu.address_space<global>>
    linalg.yield %v : f32
  }
  return
}

// -----

// Panels of both factors in shared memory, accumulators in registers.
// CHECK-LABEL: func.func @linear
// CHECK:         gpu.launch
// CHECK-SAME:      workgroup(%{{.*}} : memref<1088xf32, #gpu.address_space<workgroup>>, %{{.*}} : memref<1088xf32, #gpu.address_space<workgroup>>)
// CHECK:           gpu.barrier
// CHECK-COUNT-16:  math.fma
// CHECK:           gpu.barrier
func.func @linear(%x: memref<?x70xf32, #gpu.address_space<global>>, %w: memref<1x70x64xf32, #gpu.address_space<global>>, %y: memref<?x45xf32, #gpu.address_space<global>>) attributes {adapter.parameters = []} {
  kernel.linear ins(%x, %w : memref<?x70xf32, #gpu.address_space<global>>, memref<1x70x64xf32, #gpu.address_space<global>>) outs(%y : memref<?x45xf32, #gpu.address_space<global>>)
  return
}

// -----

// Three products in the same tiles and the elements of sparse updates, by one launch each, whatever the number of rows.
// CHECK-LABEL: func.func @row_linear
// CHECK-DAG:     kernel.bank_numbers 2
// CHECK-DAG:     kernel.bank_table 2
// CHECK-DAG:     kernel.row_entries
// CHECK-COUNT-4: gpu.launch blocks
// CHECK-NOT:     gpu.launch blocks
func.func @row_linear(%x: memref<?x64xf32, #gpu.address_space<global>>, %y: memref<?x32xf32, #gpu.address_space<global>>) attributes {adapter.parameters = []} {
  kernel.row_linear ins(%x : memref<?x64xf32, #gpu.address_space<global>>) outs(%y : memref<?x32xf32, #gpu.address_space<global>>) {bank = 2 : i64, accumulate}
  return
}

// -----

// With the base's product, which brings the bias, in front.
// CHECK-LABEL: func.func @row_linear_base
// CHECK-COUNT-5: gpu.launch blocks
// CHECK-NOT:     gpu.launch blocks
func.func @row_linear_base(%x: memref<?x64xf32, #gpu.address_space<global>>, %w: memref<1x64x64xf32, #gpu.address_space<global>>, %b: memref<32xf32, #gpu.address_space<global>>, %y: memref<?x32xf32, #gpu.address_space<global>>) attributes {adapter.parameters = []} {
  kernel.row_linear ins(%x : memref<?x64xf32, #gpu.address_space<global>>) weight(%w : memref<1x64x64xf32, #gpu.address_space<global>>) bias(%b : memref<32xf32, #gpu.address_space<global>>) outs(%y : memref<?x32xf32, #gpu.address_space<global>>) {bank = 2 : i64}
  return
}

// -----

// What the host runs is left alone.
// CHECK-LABEL: func.func @not_a_graph
// CHECK:         kernel.linear
func.func @not_a_graph(%x: memref<?x70xf32>, %w: memref<1x70x64xf32>, %y: memref<?x45xf32>) {
  kernel.linear ins(%x, %w : memref<?x70xf32>, memref<1x70x64xf32>) outs(%y : memref<?x45xf32>)
  return
}
