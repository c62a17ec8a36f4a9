// RUN: adapter-opt %s --convert-linalg-to-kernel-loops --split-input-file --verify-diagnostics | FileCheck %s

#id = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (0, d1)>
#rows = affine_map<(d0, d1) -> (d0)>

// Equal shapes: one flat loop, however many dimensions there are.
// CHECK-LABEL: func.func @flat
// CHECK: kernel.parallel
// CHECK-NOT: scf.for
// CHECK-NOT: arith.remui
// CHECK: arith.addf
// CHECK-LABEL: func.func @broadcast
func.func @flat(%x: memref<?x4xf32>, %y: memref<?x4xf32>) {
  linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : memref<?x4xf32>) outs(%y : memref<?x4xf32>) {
  ^bb0(%a: f32, %b: f32):
    %s = arith.addf %a, %a : f32
    linalg.yield %s : f32
  }
  return
}

// The last dimension is innermost.
// CHECK: kernel.parallel
// CHECK: ^bb0(%[[I:.*]]: index):
// CHECK: scf.for %[[J:.*]] =
// CHECK-DAG: memref.load %{{.*}}[%{{.*}}, %[[J]]] : memref<1x4xf32>
func.func @broadcast(%x: memref<1x4xf32>, %y: memref<?x4xf32>) {
  linalg.generic {indexing_maps = [#row, #id], iterator_types = ["parallel", "parallel"]} ins(%x : memref<1x4xf32>) outs(%y : memref<?x4xf32>) {
  ^bb0(%a: f32, %b: f32):
    linalg.yield %a : f32
  }
  return
}

// A reduction accumulates in a register and is stored once.
// CHECK-LABEL: func.func @reduce
// CHECK: kernel.parallel
// CHECK: %[[SUM:.*]] = scf.for {{.*}} iter_args
// CHECK: arith.addf
// CHECK: scf.yield
// CHECK: memref.store %[[SUM]]
func.func @reduce(%x: memref<?x4xf32>, %y: memref<?xf32>) {
  linalg.generic {indexing_maps = [#id, #rows], iterator_types = ["parallel", "reduction"]} ins(%x : memref<?x4xf32>) outs(%y : memref<?xf32>) {
  ^bb0(%a: f32, %b: f32):
    %s = arith.addf %a, %b : f32
    linalg.yield %s : f32
  }
  return
}

// A copy into a part of a buffer is a loop; what is no linalg op stays.
// CHECK-LABEL: func.func @copy
// CHECK-NOT: memref.copy
// CHECK: kernel.parallel
// CHECK-LABEL: func.func @untouched
func.func @copy(%x: memref<4xf32>, %y: memref<4xf32, strided<[2], offset: 1>>) {
  memref.copy %x, %y : memref<4xf32> to memref<4xf32, strided<[2], offset: 1>>
  return
}
// CHECK: kernel.linear
func.func @untouched(%x: memref<2x4xf32>, %w: memref<1x4x32xf32>, %y: memref<2x8xf32>) {
  kernel.linear ins(%x, %w : memref<2x4xf32>, memref<1x4x32xf32>) outs(%y : memref<2x8xf32>)
  return
}

// -----

// Bufferisation comes first.
func.func @tensors(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @below {{is not on buffers}}
  %z = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%x : tensor<4xf32>) outs(%y : tensor<4xf32>) {
  ^bb0(%a: f32, %b: f32):
    linalg.yield %a : f32
  } -> tensor<4xf32>
  return %z : tensor<4xf32>
}
