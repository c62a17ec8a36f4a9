// RUN: adapter-opt %s --adapter-expand-modules --verify-diagnostics | FileCheck %s

// Values that are no parameters with contents are transposed by nodes.
// CHECK-LABEL: func @whole
// CHECK-SAME: (%[[X:.*]]: tensor<?x7x4xf32>, %[[D:.*]]: tensor<2x4xf32>, %[[C:.*]]: tensor<2xf32>, %[[U:.*]]: tensor<4x2xf32>, %[[B:.*]]: tensor<4xf32>, %[[S:.*]]: tensor<4xf32>)
func.func @whole(%x: tensor<?x7x4xf32>, %d: tensor<2x4xf32>, %c: tensor<2xf32>, %u: tensor<4x2xf32>, %b: tensor<4xf32>, %s: tensor<4xf32>) -> tensor<?x7x4xf32> {
  // CHECK: %[[DT:.*]] = onnx.node "Transpose"(%[[D]])
  // CHECK: %[[DOWN:.*]] = onnx.node "MatMul"(%[[X]], %[[DT]]) {{.*}} -> tensor<?x7x2xf32>
  // CHECK: %[[N:.*]] = onnx.node "Add"(%[[DOWN]], %[[C]])
  // CHECK: %[[A:.*]] = onnx.node "Relu"(%[[N]])
  // CHECK: %[[UT:.*]] = onnx.node "Transpose"(%[[U]])
  // CHECK: %[[UP:.*]] = onnx.node "MatMul"(%[[A]], %[[UT]]) {node_name = "/layer/x/MatMul_1"
  // CHECK: %[[W:.*]] = onnx.node "Add"(%[[UP]], %[[B]])
  // CHECK: %[[V:.*]] = onnx.node "Mul"(%[[W]], %[[S]])
  // CHECK: %[[F:.*]] = adapter.parameter "expanded"::"constant.4" : tensor<f32>
  // CHECK: %[[Y:.*]] = onnx.node "Mul"(%[[V]], %[[F]])
  // CHECK: %[[R:.*]] = onnx.node "Add"(%[[Y]], %[[X]])
  // CHECK: return %[[R]]
  %y = adapter.bottleneck %x down %d bias %c up %u bias %b scale %s residual %x {
  ^bb0(%n: tensor<?x7x2xf32>):
    %a = onnx.node "Relu"(%n) {result_names = ["a"]} : (tensor<?x7x2xf32>) -> tensor<?x7x2xf32>
    adapter.yield %a : tensor<?x7x2xf32>
  } {factor = 4.0 : f64, node_name = "/layer/x"} : (tensor<?x7x4xf32>, tensor<2x4xf32>, tensor<2xf32>, tensor<4x2xf32>, tensor<4xf32>, tensor<4xf32>, tensor<?x7x4xf32>) -> tensor<?x7x4xf32>
  return %y : tensor<?x7x4xf32>
}

// Nothing but the products, and the identity within.
// CHECK-LABEL: func @bare
func.func @bare(%x: tensor<?x4xf32>, %d: tensor<2x4xf32>, %u: tensor<4x2xf32>) -> tensor<?x4xf32> {
  // CHECK-NOT: "Add"
  // CHECK-NOT: "Mul"
  // CHECK: return
  %y = adapter.bottleneck %x down %d up %u {
  ^bb0(%n: tensor<?x2xf32>):
    adapter.yield %n : tensor<?x2xf32>
  } : (tensor<?x4xf32>, tensor<2x4xf32>, tensor<4x2xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// CHECK-LABEL: func @mean
func.func @mean(%w: tensor<4x2xf32>, %v: tensor<4x2xf32>, %m: tensor<4x2xi8>, %n: tensor<4x2xi8>) -> tensor<4x2xf32> {
  // CHECK: %[[M:.*]] = onnx.node "Cast"(%{{.*}}) {node_attributes = {to = 1 : i64}
  // CHECK: %[[P:.*]] = onnx.node "Mul"(%{{.*}}, %[[M]])
  // CHECK: %[[Q:.*]] = onnx.node "Mul"
  // CHECK: %[[S:.*]] = onnx.node "Add"(%[[P]], %[[Q]])
  // CHECK: onnx.node "Div"(%[[S]],
  %y = adapter.mask_mix mean %w, %v masks %m, %n : tensor<4x2xf32>, tensor<4x2xf32> masks tensor<4x2xi8>, tensor<4x2xi8> -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}

// What a site holds is known later: it stays.
adapter.site @edge {module = "layer.0.output", parameter = "sublayer_onto_sublayer", kind = #adapter.kind<bottleneck>,
                    time = #adapter.time<row>, rows = 4 : i64, columns = 4 : i64, bottlenecks = [#adapter.bottleneck<relu>]}
// CHECK-LABEL: func @later
func.func @later(%h: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // CHECK: adapter.act @edge
  %x = adapter.act @edge on %h of %h : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %x : tensor<?x4xf32>
}
