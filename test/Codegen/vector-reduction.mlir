// RUN: adapter-opt %s --convert-linalg-to-kernel-loops | FileCheck %s

// Results side by side are summed at once, each in the order in which it would be alone; what is the same for all is read once.
// CHECK-LABEL: func.func @side_by_side
// CHECK: kernel.parallel
// CHECK: scf.if
// CHECK: vector.load %{{.*}} : memref<?x?xf64>, vector<32xf64>
// CHECK: scf.for {{.*}} -> (vector<32xf64>)
// CHECK: %[[A:.*]] = memref.load
// CHECK: vector.load
// CHECK: vector.broadcast %[[A]] : f64 to vector<32xf64>
// CHECK: arith.mulf %{{.*}} : vector<32xf64>
// CHECK: vector.store
// CHECK: else
// CHECK: memref.store
func.func @side_by_side(%a: memref<?x?xf64>, %x: memref<?x?xf64>, %y: memref<?x?xf64>) {
  linalg.generic {indexing_maps = [affine_map<(i, r, j) -> (i, r)>, affine_map<(i, r, j) -> (r, j)>, affine_map<(i, r, j) -> (i, j)>],
                  iterator_types = ["parallel", "reduction", "parallel"]} ins(%a, %x : memref<?x?xf64>, memref<?x?xf64>) outs(%y : memref<?x?xf64>) {
  ^bb0(%u: f64, %v: f64, %s: f64):
    %p = arith.mulf %u, %v : f64
    %t = arith.addf %s, %p : f64
    linalg.yield %t : f64
  }
  return
}

// Results that lie apart are not.
// CHECK-LABEL: func.func @apart
// CHECK-NOT: vector
// CHECK: return
func.func @apart(%x: memref<?x?xf64>, %y: memref<?xf64>) {
  linalg.generic {indexing_maps = [affine_map<(i, r) -> (i, r)>, affine_map<(i, r) -> (i)>],
                  iterator_types = ["parallel", "reduction"]} ins(%x : memref<?x?xf64>) outs(%y : memref<?xf64>) {
  ^bb0(%v: f64, %s: f64):
    %t = arith.addf %s, %v : f64
    linalg.yield %t : f64
  }
  return
}

// Nor those that read where the body says, along the results; what it reads for all of them is no obstacle.
// CHECK-LABEL: func.func @along
// CHECK-NOT: vector
// CHECK-LABEL: func.func @across
// CHECK: %[[V:.*]] = memref.load %{{.*}} : memref<?xf64>
// CHECK: vector.broadcast %[[V]] : f64 to vector<32xf64>
func.func @along(%a: memref<?xf64>, %x: memref<?x?xf64>, %y: memref<?xf64>) {
  linalg.generic {indexing_maps = [affine_map<(r, j) -> (r, j)>, affine_map<(r, j) -> (j)>],
                  iterator_types = ["reduction", "parallel"]} ins(%x : memref<?x?xf64>) outs(%y : memref<?xf64>) {
  ^bb0(%v: f64, %s: f64):
    %j = linalg.index 1 : index
    %u = memref.load %a[%j] : memref<?xf64>
    %p = arith.mulf %u, %v : f64
    %t = arith.addf %s, %p : f64
    linalg.yield %t : f64
  }
  return
}
func.func @across(%a: memref<?xf64>, %x: memref<?x?xf64>, %y: memref<?xf64>) {
  linalg.generic {indexing_maps = [affine_map<(r, j) -> (r, j)>, affine_map<(r, j) -> (j)>],
                  iterator_types = ["reduction", "parallel"]} ins(%x : memref<?x?xf64>) outs(%y : memref<?xf64>) {
  ^bb0(%v: f64, %s: f64):
    %r = linalg.index 0 : index
    %u = memref.load %a[%r] : memref<?xf64>
    %p = arith.mulf %u, %v : f64
    %t = arith.addf %s, %p : f64
    linalg.yield %t : f64
  }
  return
}
