// RUN: adapter-opt %s --split-input-file --adapter-phase-bufferise | FileCheck %s

// A reshape is a view of a whole tensor.
// CHECK-LABEL: func.func @whole
// CHECK-NOT: memref.alloc
// CHECK: kernel.reshape
func.func @whole(%x: tensor<2x8xf32>) -> tensor<16xf32> {
  %y = kernel.reshape %x [] : tensor<2x8xf32> to tensor<16xf32>
  return %y : tensor<16xf32>
}

// -----

// A part has strided rows: it is copied first.
// CHECK-LABEL: func.func @part
// CHECK: %[[PART:.*]] = memref.subview
// CHECK: %[[COPY:.*]] = memref.alloc{{.*}} : memref<2x4xf32>
// CHECK: memref.copy %[[PART]], %[[COPY]]
// CHECK: kernel.reshape %[[COPY]]
func.func @part(%x: tensor<2x8xf32>) -> tensor<8xf32> {
  %part = tensor.extract_slice %x[0, 0] [2, 4] [1, 1] : tensor<2x8xf32> to tensor<2x4xf32>
  %y = kernel.reshape %part [] : tensor<2x4xf32> to tensor<8xf32>
  return %y : tensor<8xf32>
}
