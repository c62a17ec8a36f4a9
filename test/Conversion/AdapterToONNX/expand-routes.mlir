// RUN: adapter-opt %s --adapter-expand-mixtures | FileCheck %s
// RUN: adapter-opt %s --adapter-expand-mixtures=pairwise | FileCheck %s --check-prefix=PAIRS

// Null experts lose their weight before the sum, which may then be 0.
// CHECK-LABEL: func @null
func.func @null(%l: tensor<?x8xf32>) -> (tensor<?x2xf32>, tensor<?x2xi64>) {
  // CHECK: onnx.node "TopK"
  // CHECK: onnx.node "Less"
  // CHECK: onnx.node "Where"
  // CHECK: onnx.node "ReduceSum"
  // CHECK: onnx.node "Equal"
  // CHECK: onnx.node "Where"
  // CHECK: onnx.node "Div"
  %w, %i = adapter.route softmax score_first top 2 normalise after scope token null 3 %l : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x2xi64>
  return %w, %i : tensor<?x2xf32>, tensor<?x2xi64>
}

// CHECK-LABEL: func @shared
func.func @shared(%l: tensor<?x8xf32>) -> (tensor<?x3xf32>, tensor<?x3xi64>) {
  // CHECK: onnx.node "TopK"{{.*}} -> (tensor<?x2xf32>, tensor<?x2xi64>)
  // CHECK: onnx.node "Concat"{{.*}} -> tensor<?x3xf32>
  // CHECK: onnx.node "Add"{{.*}} -> tensor<?x2xi64>
  // CHECK: onnx.node "Concat"{{.*}} -> tensor<?x3xi64>
  %w, %i = adapter.route sigmoid score_first top 2 normalise none scope token shared 1 %l : tensor<?x8xf32> -> tensor<?x3xf32>, tensor<?x3xi64>
  return %w, %i : tensor<?x3xf32>, tensor<?x3xi64>
}

// CHECK-LABEL: func @top_p
func.func @top_p(%l: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // CHECK: onnx.node "Div"
  // CHECK: %[[S:.*]] = onnx.node "Softmax"
  // CHECK: %[[T:.*]]:2 = onnx.node "TopK"(%[[S]]{{.*}} -> (tensor<?x8xf32>, tensor<?x8xi64>)
  // CHECK: onnx.node "CumSum"(%[[T]]#0, %{{.*}}) {node_attributes = {exclusive = 1 : i64}
  // CHECK: onnx.node "LessOrEqual"
  // CHECK: %[[K:.*]] = onnx.node "Where"
  // CHECK: onnx.node "ScatterElements"(%[[S]], %[[T]]#1, %[[K]])
  // CHECK-NOT: "Range"
  %w, %i = adapter.route softmax score_first top_p 0.4 normalise none scope token temperature 2.0 %l : tensor<?x8xf32> -> tensor<?x8xf32>, tensor<?x8xi64>
  return %w : tensor<?x8xf32>
}

// Ids of all experts, where they are read.
// CHECK-LABEL: func @all
func.func @all(%l: tensor<?x8xf32>) -> (tensor<?x6xf32>, tensor<?x6xi64>) {
  // CHECK: onnx.node "Slice"{{.*}} -> tensor<?x6xf32>
  // CHECK: onnx.node "Range"
  // CHECK: onnx.node "Expand"{{.*}} -> tensor<?x6xi64>
  %w, %i = adapter.route sigmoid score_first all normalise none scope token null 2 %l : tensor<?x8xf32> -> tensor<?x6xf32>, tensor<?x6xi64>
  return %w, %i : tensor<?x6xf32>, tensor<?x6xi64>
}

// Without sorting, each expert counts those that are better; ids are not read by a mixture of weights of all.
// CHECK-LABEL: func @mixed
// CHECK: "TopK"
// PAIRS-LABEL: func @mixed
func.func @mixed(%x: tensor<?x64xf32>, %w: tensor<32x64xf32>, %a: tensor<4x64xf32>, %b: tensor<32x4xf32>, %l: tensor<?x4xf32>) -> tensor<?x32xf32> {
  // PAIRS-NOT: "TopK"
  // PAIRS: onnx.node "Greater"{{.*}} -> tensor<?x4x4xi1>
  // PAIRS: %[[RANK:.*]] = onnx.node "ReduceSum"{{.*}} -> tensor<?x4xf32>
  // PAIRS: %[[FIRST:.*]] = onnx.node "Less"(%[[RANK]],
  // PAIRS: %[[G:.*]] = onnx.node "Where"(%[[FIRST]],
  // PAIRS: onnx.node "Mul"(%{{.*}}, %[[G]])
  %g, %i = adapter.route softmax score_first top 2 normalise none scope token %l : tensor<?x4xf32> -> tensor<?x2xf32>, tensor<?x2xi64>
  %u = adapter.low_rank %a, %b : tensor<4x64xf32>, tensor<32x4xf32> -> !adapter.update<tensor<32x64xf32>>
  %m = adapter.mix %u, %g ids %i : tensor<?x2xi64> blocks [1, 1, 1, 1] : !adapter.update<tensor<32x64xf32>>, tensor<?x2xf32>
  %y = adapter.linear %x, %w update %m {transpose_weight} : tensor<?x64xf32>, tensor<32x64xf32>, !adapter.update<tensor<32x64xf32>> -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
