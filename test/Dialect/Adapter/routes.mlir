// RUN: adapter-opt %s | adapter-opt | FileCheck %s
// RUN: adapter-opt %s --mlir-print-op-generic | adapter-opt | FileCheck %s

// CHECK-LABEL: func.func @selections
func.func @selections(%l: tensor<?x7x8xf32>) {
  // CHECK: adapter.route softmax select_first argmax normalise none scope token %{{.*}} : tensor<?x7x8xf32> -> tensor<?x7x1xf32>, tensor<?x7x1xi64>
  %0:2 = adapter.route softmax select_first argmax normalise none scope token %l : tensor<?x7x8xf32> -> tensor<?x7x1xf32>, tensor<?x7x1xi64>
  // CHECK: adapter.route sigmoid score_first threshold 5.000000e-01 normalise after scope token %{{.*}} : tensor<?x7x8xf32> -> tensor<?x7x8xf32>, tensor<?x7x8xi64>
  %1:2 = adapter.route sigmoid score_first threshold 0.5 normalise after scope token %l : tensor<?x7x8xf32> -> tensor<?x7x8xf32>, tensor<?x7x8xi64>
  // CHECK: adapter.route softmax score_first top_p 4.000000e-01 normalise none scope token temperature 2.000000e+00 %
  %2:2 = adapter.route softmax score_first top_p 0.4 normalise none scope token temperature 2.0 %l : tensor<?x7x8xf32> -> tensor<?x7x8xf32>, tensor<?x7x8xi64>
  // CHECK: adapter.route sigmoid score_first all normalise before scope sequence null 2 %{{.*}} -> tensor<?x7x6xf32>
  %3:2 = adapter.route sigmoid score_first all normalise before scope sequence null 2 %l : tensor<?x7x8xf32> -> tensor<?x7x6xf32>, tensor<?x7x6xi64>
  // CHECK: adapter.route softmax score_first top 2 normalise after scope token null 3 shared 1 %{{.*}} -> tensor<?x7x3xf32>, tensor<?x7x3xi64>
  %4:2 = adapter.route softmax score_first top 2 normalise after scope token null 3 shared 1 %l : tensor<?x7x8xf32> -> tensor<?x7x3xf32>, tensor<?x7x3xi64>
  // A softmax over chosen ones of which some are none leaves something to divide.
  // CHECK: adapter.route softmax select_first top 2 normalise after scope token null 3 %
  %5:2 = adapter.route softmax select_first top 2 normalise after scope token null 3 %l : tensor<?x7x8xf32> -> tensor<?x7x2xf32>, tensor<?x7x2xi64>
  return
}

// Of a value of which nothing is known.
// CHECK-LABEL: func.func @unknown
func.func @unknown(%l: tensor<*xf32>, %t: tensor<8xf32>) {
  // CHECK: adapter.route none score_first top 2 normalise none scope token %{{.*}} : tensor<*xf32> -> tensor<*xf32>, tensor<*xi64>
  %0:2 = adapter.route none score_first top 2 normalise none scope token %l : tensor<*xf32> -> tensor<*xf32>, tensor<*xi64>
  // CHECK: scope task %{{.*}} : tensor<8xf32> -> tensor<2xf32>, tensor<2xi64>
  %1:2 = adapter.route softmax score_first top 2 normalise none scope task %t : tensor<8xf32> -> tensor<2xf32>, tensor<2xi64>
  return
}

// CHECK-LABEL: func.func @mixes
func.func @mixes(%a: tensor<12x64xf32>, %b: tensor<32x12xf32>, %g: tensor<?x7x2xf32>, %i: tensor<?x7x1xi64>, %w: tensor<?x7x1xf32>) -> !adapter.update<tensor<32x64xf32>> {
  %u = adapter.low_rank %a, %b : tensor<12x64xf32>, tensor<32x12xf32> -> !adapter.update<tensor<32x64xf32>>
  // CHECK: adapter.mix %{{.*}}, %{{.*}} blocks [8, 4] : !adapter.update<tensor<32x64xf32>>, tensor<?x7x2xf32>
  %m = adapter.mix %u, %g blocks [8, 4] : !adapter.update<tensor<32x64xf32>>, tensor<?x7x2xf32>
  // CHECK: adapter.mix %{{.*}}, %{{.*}} ids %{{.*}} : tensor<?x7x1xi64> blocks [6, 0, 6] : !adapter.update<tensor<32x64xf32>>, tensor<?x7x1xf32>
  %n = adapter.mix %u, %w ids %i : tensor<?x7x1xi64> blocks [6, 0, 6] : !adapter.update<tensor<32x64xf32>>, tensor<?x7x1xf32>
  %c = adapter.parameter "x"::"gate" : tensor<1xf32>
  // CHECK: adapter.mix %{{.*}}, %{{.*}} gate %{{.*}} : tensor<1xf32> blocks [8, 4] : !adapter.update<tensor<32x64xf32>>, tensor<?x7x2xf32>
  %o = adapter.mix %u, %g gate %c : tensor<1xf32> blocks [8, 4] : !adapter.update<tensor<32x64xf32>>, tensor<?x7x2xf32>
  %s = adapter.sum %m, %n, %o : !adapter.update<tensor<32x64xf32>>
  return %s : !adapter.update<tensor<32x64xf32>>
}
