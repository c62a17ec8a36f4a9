// RUN: adapter-opt %s --gpu-kernel-outlining --kernel-collect-kernels | FileCheck %s

// Equal kernels of different sizes are one; constants stand within, buffers come first, scalars have 32 bits.
// CHECK:       kernel.table = [{buffers = 1 : i64, name = "k0_fill", scalars = 4 : i64, threads = 32 : i64}]
// CHECK-LABEL: func.func @two
// CHECK:         gpu.launch_func @kernels::@k0_fill {{.*}} args(%{{.*}} : memref<?xf32>, %{{.*}} : i32, %{{.*}} : i32, %{{.*}} : i32, %{{.*}} : i32)
// CHECK:         gpu.launch_func @kernels::@k0_fill
// CHECK:       gpu.module @kernels
// CHECK:         gpu.func @k0_fill(%{{.*}}: memref<?xf32>, %{{.*}}: i32, %{{.*}}: i32, %{{.*}}: i32, %{{.*}}: i32)
// CHECK:           arith.constant 7 : index
// CHECK:           arith.ori %{{.*}}, %{{.*}} : i64
// CHECK:           arith.bitcast %{{.*}} : i32 to f32
// CHECK-NOT:     gpu.func
func.func @two(%x: memref<8xf32>, %z: memref<?xf32>, %v: f32, %n: index, %w: i64) attributes {adapter.parameters = []} {
  %c1 = arith.constant 1 : index
  %c7 = arith.constant 7 : index
  %c32 = arith.constant 32 : index
  gpu.launch blocks(%a, %b, %c) in (%ga = %n, %gb = %c1, %gc = %c1) threads(%d, %e, %f) in (%ta = %c32, %tb = %c1, %tc = %c1) function(@fill) {
    %s = arith.muli %n, %c7 : index
    %i = arith.index_cast %w : i64 to index
    %t = arith.addi %s, %i : index
    memref.store %v, %x[%t] : memref<8xf32>
    gpu.terminator
  }
  gpu.launch blocks(%a, %b, %c) in (%ga = %n, %gb = %c1, %gc = %c1) threads(%d, %e, %f) in (%ta = %c32, %tb = %c1, %tc = %c1) function(@fill) {
    %s = arith.muli %n, %c7 : index
    %i = arith.index_cast %w : i64 to index
    %t = arith.addi %s, %i : index
    memref.store %v, %z[%t] : memref<?xf32>
    gpu.terminator
  }
  return
}
