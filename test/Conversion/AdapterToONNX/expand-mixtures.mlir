// RUN: adapter-opt %s --adapter-expand-mixtures --split-input-file --verify-diagnostics | FileCheck %s

// The node that there was keeps its name; the gates of ranks come from comparing ids.
// CHECK-LABEL: func @chosen
// CHECK-SAME: (%[[X:.*]]: tensor<?x7x64xf32>, %[[W:.*]]: tensor<64x32xf32>,
func.func @chosen(%x: tensor<?x7x64xf32>, %w: tensor<64x32xf32>, %a: tensor<12x64xf32>, %b: tensor<32x12xf32>, %l: tensor<?x7x2xf32>) -> tensor<?x7x32xf32> {
  // CHECK: %[[P:.*]] = onnx.node "Softmax"(%{{.*}}) {node_attributes = {axis = -1 : i64}
  // CHECK: %[[TOP:.*]]:2 = onnx.node "TopK"(%[[P]], %{{.*}}) {{.*}} -> (tensor<?x7x1xf32>, tensor<?x7x1xi64>)
  // CHECK: %[[Y:.*]] = onnx.node "MatMul"(%[[X]], %[[W]]) {node_name = "q", result_names = ["q_out"]}
  // CHECK: %[[AT:.*]] = onnx.node "Transpose"
  // CHECK: %[[N:.*]] = onnx.node "MatMul"(%[[X]], %[[AT]]) {{.*}} -> tensor<?x7x12xf32>
  // CHECK: onnx.node "Unsqueeze"(%[[TOP]]#1,
  // CHECK: onnx.node "Unsqueeze"(%[[TOP]]#0,
  // CHECK: onnx.node "Equal"
  // CHECK: onnx.node "Where"
  // CHECK: %[[G:.*]] = onnx.node "ReduceSum"({{.*}} -> tensor<?x7x12xf32>
  // CHECK: %[[M:.*]] = onnx.node "Mul"(%[[N]], %[[G]])
  // CHECK: %[[D:.*]] = onnx.node "MatMul"(%[[M]], %
  // CHECK: %[[R:.*]] = onnx.node "Add"(%[[Y]], %[[D]])
  // CHECK: return %[[R]]
  %g, %i = adapter.route softmax score_first top 1 normalise none scope token %l : tensor<?x7x2xf32> -> tensor<?x7x1xf32>, tensor<?x7x1xi64>
  %u = adapter.low_rank %a, %b : tensor<12x64xf32>, tensor<32x12xf32> -> !adapter.update<tensor<32x64xf32>>
  %m = adapter.mix %u, %g ids %i : tensor<?x7x1xi64> blocks [8, 4] : !adapter.update<tensor<32x64xf32>>, tensor<?x7x1xf32>
  %t = adapter.transpose %m [1, 0] : !adapter.update<tensor<32x64xf32>> -> !adapter.update<tensor<64x32xf32>>
  %y = adapter.linear %x, %w update %t {node = {op_type = "MatMul", node_name = "q", result_names = ["q_out"]}} : tensor<?x7x64xf32>, tensor<64x32xf32>, !adapter.update<tensor<64x32xf32>> -> tensor<?x7x32xf32>
  return %y : tensor<?x7x32xf32>
}

// -----

// Given weights of single ranks are the gates; a scale, a bias, and a weight the other way round.
// CHECK-LABEL: func @single
// CHECK-SAME: %[[G:[a-z0-9]*]]: tensor<?x3xf32>)
func.func @single(%x: tensor<?x64xf32>, %w: tensor<32x64xf32>, %c: tensor<32xf32>, %a: tensor<3x64xf32>, %b: tensor<32x3xf32>, %g: tensor<?x3xf32>) -> tensor<?x32xf32> {
  // CHECK-NOT: "Gather"
  // CHECK: onnx.node "Mul"(%{{.*}}, %[[G]])
  // CHECK: adapter.parameter "expanded"::"constant.0.5"
  // CHECK: onnx.node "Mul"
  %u = adapter.low_rank %a, %b : tensor<3x64xf32>, tensor<32x3xf32> -> !adapter.update<tensor<32x64xf32>>
  %m = adapter.mix %u, %g blocks [1, 1, 1] : !adapter.update<tensor<32x64xf32>>, tensor<?x3xf32>
  %f = arith.constant 0.5 : f64
  %s = adapter.scale %m, %f : !adapter.update<tensor<32x64xf32>>
  %y = adapter.linear %x, %w bias %c update %s {transpose_weight} : tensor<?x64xf32>, tensor<32x64xf32>, !adapter.update<tensor<32x64xf32>>, tensor<32xf32> -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// -----

// What is no mixture stays.
// CHECK-LABEL: func @plain
func.func @plain(%x: tensor<?x64xf32>, %w: tensor<32x64xf32>, %a: tensor<3x64xf32>, %b: tensor<32x3xf32>) -> tensor<?x32xf32> {
  // CHECK: adapter.linear
  %u = adapter.low_rank %a, %b : tensor<3x64xf32>, tensor<32x3xf32> -> !adapter.update<tensor<32x64xf32>>
  %y = adapter.linear %x, %w update %u {transpose_weight} : tensor<?x64xf32>, tensor<32x64xf32>, !adapter.update<tensor<32x64xf32>> -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}

// -----

func.func @beside(%x: tensor<?x64xf32>, %w: tensor<32x64xf32>, %a: tensor<3x64xf32>, %b: tensor<32x3xf32>, %g: tensor<?x3xf32>) -> tensor<?x32xf32> {
  %u = adapter.low_rank %a, %b : tensor<3x64xf32>, tensor<32x3xf32> -> !adapter.update<tensor<32x64xf32>>
  %m = adapter.mix %u, %g blocks [1, 1, 1] : !adapter.update<tensor<32x64xf32>>, tensor<?x3xf32>
  %s = adapter.sum %u, %m : !adapter.update<tensor<32x64xf32>>
  // expected-error @below {{'adapter.linear' op has an update that is no mixture, nor a sum of some}}
  %y = adapter.linear %x, %w update %s {transpose_weight} : tensor<?x64xf32>, tensor<32x64xf32>, !adapter.update<tensor<32x64xf32>> -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
