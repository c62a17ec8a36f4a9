// RUN: adapter-opt %s | adapter-opt | FileCheck %s
// RUN: adapter-opt %s --mlir-print-op-generic | adapter-opt | FileCheck %s

// CHECK-LABEL: func.func @packed
func.func @packed(%w: tensor<?x?x32xf32>, %a: tensor<?x?xf32>, %b: tensor<?x?x32xf32>, %g: tensor<?x1x32xf32>, %init: tensor<?x?x32xf32>) -> tensor<?x?x32xf32> {
  // CHECK: kernel.update_weight ins(%{{.*}} : tensor<?x?x32xf32>) factors(%{{.*}}, %{{.*}} : tensor<?x?xf32>, tensor<?x?x32xf32>) gain(%{{.*}} : tensor<?x1x32xf32>) outs(%{{.*}} : tensor<?x?x32xf32>) {unit} -> tensor<?x?x32xf32>
  %v = kernel.update_weight ins(%w : tensor<?x?x32xf32>) factors(%a, %b : tensor<?x?xf32>, tensor<?x?x32xf32>) gain(%g : tensor<?x1x32xf32>) outs(%init : tensor<?x?x32xf32>) {unit} -> tensor<?x?x32xf32>
  return %v : tensor<?x?x32xf32>
}

// CHECK-LABEL: func.func @matrix
func.func @matrix(%w: memref<?x?xf32>, %a: memref<?x?xf32>, %b: memref<?x?x32xf32>, %v: memref<?x?xf32>) {
  // CHECK: kernel.update_weight ins(%{{.*}} : memref<?x?xf32>) factors(%{{.*}}, %{{.*}} : memref<?x?xf32>, memref<?x?x32xf32>) outs(%{{.*}} : memref<?x?xf32>)
  // CHECK-NOT: ->
  kernel.update_weight ins(%w : memref<?x?xf32>) factors(%a, %b : memref<?x?xf32>, memref<?x?x32xf32>) outs(%v : memref<?x?xf32>)
  return
}
