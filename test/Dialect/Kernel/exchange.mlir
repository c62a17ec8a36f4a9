// RUN: adapter-opt %s | adapter-opt | FileCheck %s
// RUN: adapter-opt %s --mlir-print-op-generic | adapter-opt | FileCheck %s

// CHECK-LABEL: func.func @tensors
func.func @tensors(%t: tensor<?xi64>, %o: tensor<9xi64>, %i: tensor<?xi64>, %b: tensor<3xi64>, %s: tensor<?xi64>, %c: tensor<2x5xi64>, %n: tensor<2xi64>, %x: tensor<?x4xf32>, %y: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // CHECK: kernel.process
  %me = kernel.process
  // CHECK: kernel.unique_rows ins(%{{.*}}, %{{.*}} : tensor<?xi64>, tensor<9xi64>) outs(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : tensor<?xi64>, tensor<?xi64>, tensor<3xi64>, tensor<?xi64>) ->
  %0:4 = kernel.unique_rows ins(%t, %o : tensor<?xi64>, tensor<9xi64>) outs(%t, %i, %b, %s : tensor<?xi64>, tensor<?xi64>, tensor<3xi64>, tensor<?xi64>) -> tensor<?xi64>, tensor<?xi64>, tensor<3xi64>, tensor<?xi64>
  // CHECK: kernel.all_to_all ins(%{{.*}} : tensor<2x5xi64>) outs(%{{.*}} : tensor<2x5xi64>) -> tensor<2x5xi64>
  %1 = kernel.all_to_all ins(%c : tensor<2x5xi64>) outs(%c : tensor<2x5xi64>) -> tensor<2x5xi64>
  // CHECK: kernel.all_to_all_rows ins(%{{.*}}, %{{.*}}, %{{.*}} : tensor<?xi64>, tensor<2xi64>, tensor<2xi64>) outs(%{{.*}} : tensor<?xi64>) -> tensor<?xi64>
  %2 = kernel.all_to_all_rows ins(%0#1, %n, %n : tensor<?xi64>, tensor<2xi64>, tensor<2xi64>) outs(%i : tensor<?xi64>) -> tensor<?xi64>
  // CHECK: kernel.arrange_rows %{{.*}} ins(%{{.*}}, %{{.*}} : tensor<?xi64>, tensor<2x5xi64>) outs(%{{.*}}, %{{.*}}, %{{.*}} : tensor<?xi64>, tensor<?xi64>, tensor<9xi64>) ->
  %3:3 = kernel.arrange_rows %me ins(%2, %1 : tensor<?xi64>, tensor<2x5xi64>) outs(%t, %i, %o : tensor<?xi64>, tensor<?xi64>, tensor<9xi64>) -> tensor<?xi64>, tensor<?xi64>, tensor<9xi64>
  // CHECK: kernel.all_gather_rows ins(%{{.*}}, %{{.*}} : tensor<?x4xf32>, tensor<2xi64>) outs(%{{.*}} : tensor<?x4xf32>) -> tensor<?x4xf32>
  %4 = kernel.all_gather_rows ins(%x, %n : tensor<?x4xf32>, tensor<2xi64>) outs(%y : tensor<?x4xf32>) -> tensor<?x4xf32>
  return %4 : tensor<?x4xf32>
}

// CHECK-LABEL: func.func @told
func.func @told(%i: memref<?x2xi64>) {
  // CHECK: kernel.routed 3 %{{.*}} : memref<?x2xi64>
  kernel.routed 3 %i : memref<?x2xi64>
  return
}

// CHECK-LABEL: func.func @grouped
func.func @grouped(%x: tensor<?x4xf32>, %w: tensor<8x1x4x32xf32>, %o: tensor<9xi64>, %b: tensor<8x6xf32>, %y: tensor<?x6xf32>) -> tensor<?x6xf32> {
  // CHECK: kernel.grouped_linear ins(%{{.*}}) bias(%{{.*}} : tensor<8x6xf32>) outs(%{{.*}} : tensor<?x6xf32>) -> tensor<?x6xf32>
  %0 = kernel.grouped_linear ins(%x, %w, %o : tensor<?x4xf32>, tensor<8x1x4x32xf32>, tensor<9xi64>) bias(%b : tensor<8x6xf32>) outs(%y : tensor<?x6xf32>) -> tensor<?x6xf32>
  return %0 : tensor<?x6xf32>
}

// What an exchange receives is written, what is told may be heard: nothing goes although nobody reads it.
// RUN: adapter-opt %s --canonicalize --cse | FileCheck %s --check-prefix=KEPT
// KEPT-LABEL: func.func @buffers
func.func @buffers(%x: memref<?x4xf32>, %n: memref<2xi64>, %y: memref<?x4xf32>, %i: memref<?x2xi64>) {
  // KEPT: kernel.routed
  kernel.routed 0 %i : memref<?x2xi64>
  // KEPT: kernel.all_gather_rows
  kernel.all_gather_rows ins(%x, %n : memref<?x4xf32>, memref<2xi64>) outs(%y : memref<?x4xf32>)
  return
}
