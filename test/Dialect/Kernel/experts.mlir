// RUN: adapter-opt %s | adapter-opt | FileCheck %s
// RUN: adapter-opt %s --mlir-print-op-generic | adapter-opt | FileCheck %s

// CHECK-LABEL: func.func @tensors
func.func @tensors(%l: tensor<?x8xf32>, %v: tensor<?x2xf32>, %i: tensor<?x2xi64>, %x: tensor<?x4xf32>, %t: tensor<?xi64>, %o: tensor<9xi64>, %u: tensor<8x4x6xf32>, %p: tensor<8x1x4x32xf32>, %g: tensor<?x4xf32>, %h: tensor<?x6xf32>) -> tensor<?x6xf32> {
  // CHECK: kernel.top_k ins(%{{.*}} : tensor<?x8xf32>) outs(%{{.*}}, %{{.*}} : tensor<?x2xf32>, tensor<?x2xi64>) {smallest} -> tensor<?x2xf32>, tensor<?x2xi64>
  %0:2 = kernel.top_k ins(%l : tensor<?x8xf32>) outs(%v, %i : tensor<?x2xf32>, tensor<?x2xi64>) {smallest} -> tensor<?x2xf32>, tensor<?x2xi64>
  // CHECK: kernel.dispatch "mlp" ins(%{{.*}} : tensor<?x2xi64>) outs(%{{.*}}, %{{.*}}, %{{.*}} : tensor<?x2xi64>, tensor<?xi64>, tensor<9xi64>) ->
  %1:3 = kernel.dispatch "mlp" ins(%0#1 : tensor<?x2xi64>) outs(%i, %t, %o : tensor<?x2xi64>, tensor<?xi64>, tensor<9xi64>) -> tensor<?x2xi64>, tensor<?xi64>, tensor<9xi64>
  // CHECK: kernel.gather_rows ins(%{{.*}}, %{{.*}} : tensor<?x4xf32>, tensor<?xi64>) outs(%{{.*}} : tensor<?x4xf32>) -> tensor<?x4xf32>
  %2 = kernel.gather_rows ins(%x, %1#1 : tensor<?x4xf32>, tensor<?xi64>) outs(%g : tensor<?x4xf32>) -> tensor<?x4xf32>
  // CHECK: kernel.pack ins(%{{.*}} : tensor<8x4x6xf32>) outs(%{{.*}} : tensor<8x1x4x32xf32>) -> tensor<8x1x4x32xf32>
  %3 = kernel.pack ins(%u : tensor<8x4x6xf32>) outs(%p : tensor<8x1x4x32xf32>) -> tensor<8x1x4x32xf32>
  // CHECK: kernel.grouped_linear ins(%{{.*}}, %{{.*}}, %{{.*}} : tensor<?x4xf32>, tensor<8x1x4x32xf32>, tensor<9xi64>) outs(%{{.*}} : tensor<?x6xf32>) -> tensor<?x6xf32>
  %4 = kernel.grouped_linear ins(%2, %3, %1#2 : tensor<?x4xf32>, tensor<8x1x4x32xf32>, tensor<9xi64>) outs(%h : tensor<?x6xf32>) -> tensor<?x6xf32>
  // CHECK: kernel.combine ins(%{{.*}}, %{{.*}}, %{{.*}} : tensor<?x6xf32>, tensor<?x2xi64>, tensor<?x2xf32>) outs(%{{.*}} : tensor<?x6xf32>) -> tensor<?x6xf32>
  %5 = kernel.combine ins(%4, %1#0, %0#0 : tensor<?x6xf32>, tensor<?x2xi64>, tensor<?x2xf32>) outs(%h : tensor<?x6xf32>) -> tensor<?x6xf32>
  return %5 : tensor<?x6xf32>
}
