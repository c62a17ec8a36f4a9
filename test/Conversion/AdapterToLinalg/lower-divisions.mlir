// RUN: adapter-opt %s --kernel-lower-divisions | FileCheck %s

// CHECK-LABEL: func.func @two
func.func @two(%x: tensor<?x?xf64>, %a: index, %b: index, %n: index) -> tensor<?x?x?xf64> {
  // CHECK: %[[Y:.*]] = kernel.reshape %arg0[%arg1, %arg2, %arg3] : tensor<?x?xf64> to tensor<?x?x?xf64>
  // CHECK: return %[[Y]]
  %y = tensor.expand_shape %x [[0, 1], [2]] output_shape [%a, %b, %n] : tensor<?x?xf64> into tensor<?x?x?xf64>
  return %y : tensor<?x?x?xf64>
}

// One unknown size in a group is what the others leave.
// CHECK-LABEL: func.func @one
func.func @one(%x: tensor<?xf64>, %a: index) -> tensor<?x4xf64> {
  // CHECK-NOT: kernel.reshape
  // CHECK: tensor.expand_shape
  %y = tensor.expand_shape %x [[0, 1]] output_shape [%a, 4] : tensor<?xf64> into tensor<?x4xf64>
  return %y : tensor<?x4xf64>
}

// Two unknown sizes of two groups divide nothing.
// CHECK-LABEL: func.func @apart
func.func @apart(%x: tensor<?x?xf64>, %a: index, %b: index) -> tensor<?x1x?xf64> {
  // CHECK-NOT: kernel.reshape
  // CHECK: tensor.expand_shape
  %y = tensor.expand_shape %x [[0, 1], [2]] output_shape [%a, 1, %b] : tensor<?x?xf64> into tensor<?x1x?xf64>
  return %y : tensor<?x1x?xf64>
}

// CHECK-LABEL: func.func @joined
func.func @joined(%x: tensor<?x?xf64>) -> tensor<?xf64> {
  // CHECK-NOT: kernel.reshape
  // CHECK: tensor.collapse_shape
  %y = tensor.collapse_shape %x [[0, 1]] : tensor<?x?xf64> into tensor<?xf64>
  return %y : tensor<?xf64>
}
