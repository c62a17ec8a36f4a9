// RUN: adapter-opt %s --canonicalize | FileCheck %s

!u = !adapter.update<tensor<32x64xf32>>
!t = !adapter.update<tensor<64x32xf32>>

// CHECK-LABEL: func.func @sums_are_flat
func.func @sums_are_flat(%u: !u, %v: !u, %w: !u) -> !u {
  // CHECK: %[[S:.*]] = adapter.sum %arg0, %arg1, %arg2
  // CHECK: return %[[S]]
  %0 = adapter.sum %u, %v : !u
  %1 = adapter.sum %0, %w : !u
  return %1 : !u
}

// CHECK-LABEL: func.func @sum_of_one
func.func @sum_of_one(%u: !u) -> !u {
  // CHECK: return %arg0
  %0 = adapter.sum %u : !u
  return %0 : !u
}

// A sum of low-rank updates is one of stacked factors; what is no low-rank update stays beside it.
// CHECK-LABEL: func.func @low_rank_stacks
func.func @low_rank_stacks(%a: tensor<8x64xf32>, %b: tensor<32x8xf32>, %c: tensor<4x64xf32>, %d: tensor<32x4xf32>, %v: tensor<32x64xf32>) -> !u {
  // CHECK-DAG: %[[A:.*]] = tensor.concat dim(0) %arg0, %arg2
  // CHECK-DAG: %[[B:.*]] = tensor.concat dim(1) %arg1, %arg3
  // CHECK-DAG: %[[L:.*]] = adapter.low_rank %[[A]], %[[B]] : tensor<12x64xf32>, tensor<32x12xf32>
  // CHECK-DAG: %[[D:.*]] = adapter.dense
  // CHECK: adapter.sum %[[D]], %[[L]]
  %0 = adapter.low_rank %a, %b : tensor<8x64xf32>, tensor<32x8xf32> -> !u
  %1 = adapter.dense %v : tensor<32x64xf32> -> !u
  %2 = adapter.low_rank %c, %d : tensor<4x64xf32>, tensor<32x4xf32> -> !u
  %3 = adapter.sum %0, %1, %2 : !u
  return %3 : !u
}

// Factors of two element types do not stack.
// CHECK-LABEL: func.func @mixed_types_stay
func.func @mixed_types_stay(%a: tensor<8x64xf32>, %b: tensor<32x8xf32>, %c: tensor<4x64xf16>, %d: tensor<32x4xf16>) -> !u {
  // CHECK-NOT: tensor.concat
  // CHECK: adapter.sum
  %0 = adapter.low_rank %a, %b : tensor<8x64xf32>, tensor<32x8xf32> -> !u
  %1 = adapter.low_rank %c, %d : tensor<4x64xf16>, tensor<32x4xf16> -> !u
  %2 = adapter.sum %0, %1 : !u
  return %2 : !u
}

// CHECK-LABEL: func.func @rank_zero_vanishes
func.func @rank_zero_vanishes(%a: tensor<0x64xf32>, %b: tensor<32x0xf32>, %w: tensor<32x64xf32>) -> tensor<32x64xf32> {
  // CHECK: return %arg2
  %0 = adapter.low_rank %a, %b : tensor<0x64xf32>, tensor<32x0xf32> -> !u
  %1 = adapter.materialize %w, %0 : tensor<32x64xf32>
  return %1 : tensor<32x64xf32>
}

// CHECK-LABEL: func.func @scales_multiply
func.func @scales_multiply(%u: !u) -> !u {
  // CHECK: %[[S:.*]] = arith.constant 3.000000e+00 : f64
  // CHECK: adapter.scale %arg0, %[[S]]
  %a = arith.constant 1.5 : f64
  %b = arith.constant 2.0 : f64
  %0 = adapter.scale %u, %a : !u
  %1 = adapter.scale %0, %b : !u
  return %1 : !u
}

// CHECK-LABEL: func.func @scale_by_one
func.func @scale_by_one(%u: !u) -> !u {
  // CHECK: return %arg0
  %a = arith.constant 1.0 : f64
  %0 = adapter.scale %u, %a : !u
  return %0 : !u
}

// CHECK-LABEL: func.func @replaced_is_unseen
func.func @replaced_is_unseen(%u: !u, %v: tensor<32x64xf32>, %w: !u) -> !u {
  // CHECK: %[[R:.*]] = adapter.replace
  // CHECK: adapter.compose %[[R]], %arg2
  %0 = adapter.replace %v : tensor<32x64xf32> -> !u
  %1 = adapter.compose %u, %0, %w : !u
  return %1 : !u
}

// CHECK-LABEL: func.func @additive_compositions_are_sums
func.func @additive_compositions_are_sums(%v: tensor<32x64xf32>, %w: tensor<32x64xf32>) -> !u {
  // CHECK-NOT: adapter.compose
  // CHECK: adapter.sum
  %0 = adapter.dense %v : tensor<32x64xf32> -> !u
  %1 = adapter.dense %w : tensor<32x64xf32> -> !u
  %2 = adapter.compose %0, %1 : !u
  return %2 : !u
}

// CHECK-LABEL: func.func @transposed_twice
func.func @transposed_twice(%u: !u) -> !u {
  // CHECK: return %arg0
  %0 = adapter.transpose %u [1, 0] : !u -> !t
  %1 = adapter.transpose %0 [1, 0] : !t -> !u
  return %1 : !u
}
