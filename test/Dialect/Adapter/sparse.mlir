// RUN: adapter-opt %s --adapter-lower-materialize | FileCheck %s
// Every support touches its own elements, in place, in a copy of the weight.

// CHECK-LABEL: func @rows
// CHECK: scf.for %[[J:.*]] = %{{.*}} iter_args
// CHECK: scf.for %[[D:.*]] = %{{.*}} iter_args
// CHECK: %[[I:.*]] = tensor.extract %{{.*}}[%[[J]]] : tensor<3xi64>
// CHECK: %[[ROW:.*]] = arith.index_cast %[[I]]
// CHECK: tensor.insert %{{.*}} into %{{.*}}[%[[ROW]], %[[D]]]
func.func @rows(%w: tensor<32x64xf32>, %i: tensor<3xi64>, %v: tensor<3x64xf32>) -> tensor<32x64xf32> {
  %u = adapter.sparse overwrite rows %i, %v : tensor<3xi64>, tensor<3x64xf32> -> !adapter.update<tensor<32x64xf32>>
  %r = adapter.materialize %w, %u : tensor<32x64xf32>
  return %r : tensor<32x64xf32>
}

// CHECK-LABEL: func @columns
// CHECK: scf.for %[[R:.*]] = %{{.*}} iter_args
// CHECK: scf.for %[[J:.*]] = %{{.*}} iter_args
// CHECK: tensor.extract %{{.*}}[%[[J]]] : tensor<3xi64>
// CHECK: tensor.insert %{{.*}} into %{{.*}}[%[[R]], %{{.*}}]
func.func @columns(%w: tensor<32x64xf32>, %i: tensor<3xi64>, %v: tensor<32x3xf32>) -> tensor<32x64xf32> {
  %u = adapter.sparse add columns %i, %v : tensor<3xi64>, tensor<32x3xf32> -> !adapter.update<tensor<32x64xf32>>
  %r = adapter.materialize %w, %u : tensor<32x64xf32>
  return %r : tensor<32x64xf32>
}

// A scaled, transposed update: the factor meets the stored value, the element's indices change places.
// CHECK-LABEL: func @coordinates
// CHECK: scf.for %[[J:.*]] = %{{.*}} iter_args
// CHECK: %[[R:.*]] = arith.index_cast
// CHECK: %[[C:.*]] = arith.index_cast
// CHECK: arith.mulf
// CHECK: arith.addf
// CHECK: tensor.insert %{{.*}} into %{{.*}}[%[[C]], %[[R]]]
// CHECK-NOT: scf.for
func.func @coordinates(%w: tensor<64x32xf32>, %i: tensor<2x?xi64>, %v: tensor<?xf16>, %s: f64) -> tensor<64x32xf32> {
  %u = adapter.sparse add coordinates %i, %v : tensor<2x?xi64>, tensor<?xf16> -> !adapter.update<tensor<32x64xf32>>
  %x = adapter.scale %u, %s : !adapter.update<tensor<32x64xf32>>
  %t = adapter.transpose %x [1, 0] : !adapter.update<tensor<32x64xf32>> -> !adapter.update<tensor<64x32xf32>>
  %r = adapter.materialize %w, %t : tensor<64x32xf32>
  return %r : tensor<64x32xf32>
}

// CHECK-LABEL: func @blocks
// CHECK-DAG: %[[H:.*]] = arith.constant 8 : index
// CHECK-COUNT-3: scf.for
// CHECK: tensor.insert
func.func @blocks(%w: tensor<32x64xf32>, %i: tensor<2x5xi64>, %v: tensor<5x8x16xf32>) -> tensor<32x64xf32> {
  %u = adapter.sparse add blocks %i, %v : tensor<2x5xi64>, tensor<5x8x16xf32> -> !adapter.update<tensor<32x64xf32>>
  %r = adapter.materialize %w, %u : tensor<32x64xf32>
  return %r : tensor<32x64xf32>
}

// CHECK-LABEL: func @bitmask
// CHECK: scf.for
// CHECK: arith.shrui
// CHECK: scf.if
// CHECK: tensor.insert
func.func @bitmask(%w: tensor<32x64xf32>, %i: tensor<256xi8>, %v: tensor<?xf32>) -> tensor<32x64xf32> {
  %u = adapter.sparse overwrite bitmask %i, %v : tensor<256xi8>, tensor<?xf32> -> !adapter.update<tensor<32x64xf32>>
  %r = adapter.materialize %w, %u : tensor<32x64xf32>
  return %r : tensor<32x64xf32>
}
