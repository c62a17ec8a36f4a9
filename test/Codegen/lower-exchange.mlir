// RUN: adapter-opt %s --kernel-lower-products | FileCheck %s

// In one thread; each token once for each process, 4 of 8 experts' pairs.
// CHECK-LABEL: func.func @unique
// CHECK-NOT: kernel.parallel
// CHECK: scf.for
// CHECK: arith.muli %{{.*}}, %c4
// CHECK: scf.for {{.*}} iter_args
// CHECK: arith.cmpi slt
// CHECK-NOT: kernel.unique_rows
func.func @unique(%t: memref<?xi64>, %o: memref<9xi64>, %r: memref<?xi64>, %i: memref<?xi64>, %b: memref<3xi64>, %s: memref<?xi64>) {
  kernel.unique_rows ins(%t, %o : memref<?xi64>, memref<9xi64>) outs(%r, %i, %b, %s : memref<?xi64>, memref<?xi64>, memref<3xi64>, memref<?xi64>)
  return
}

// CHECK-LABEL: func.func @arrange
// CHECK-NOT: kernel.arrange_rows
// CHECK: scf.for
func.func @arrange(%i: memref<?xi64>, %c: memref<2x5xi64>, %me: index, %r: memref<?xi64>, %p: memref<?xi64>, %o: memref<9xi64>) {
  kernel.arrange_rows %me ins(%i, %c : memref<?xi64>, memref<2x5xi64>) outs(%r, %p, %o : memref<?xi64>, memref<?xi64>, memref<9xi64>)
  return
}

// Contiguous buffers are exchanged where they are.
// CHECK-LABEL: func.func @whole
// CHECK-NOT: memref.alloc
// CHECK: kernel.all_gather_rows
func.func @whole(%x: memref<?x4xf32>, %n: memref<2xi64>, %y: memref<?x4xf32>) {
  kernel.all_gather_rows ins(%x, %n : memref<?x4xf32>, memref<2xi64>) outs(%y : memref<?x4xf32>)
  return
}

// The host knows no strides.
// CHECK-LABEL: func.func @part
// CHECK-SAME: %[[Y:[a-z0-9]+]]: memref<?x4xf32, strided<[8, 1], offset: 4>>
// CHECK: %[[WHOLE:.*]] = memref.alloc(%{{.*}}) : memref<?x4xf32>
// CHECK: kernel.all_gather_rows ins(%{{.*}}) outs(%[[WHOLE]] : memref<?x4xf32>)
// CHECK: kernel.parallel
// CHECK: memref.store %{{.*}}, %[[Y]]
// CHECK: memref.dealloc %[[WHOLE]]
func.func @part(%x: memref<?x4xf32>, %n: memref<2xi64>, %y: memref<?x4xf32, strided<[8, 1], offset: 4>>) {
  kernel.all_gather_rows ins(%x, %n : memref<?x4xf32>, memref<2xi64>) outs(%y : memref<?x4xf32, strided<[8, 1], offset: 4>>)
  return
}
