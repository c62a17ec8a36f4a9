// RUN: adapter-opt %s | adapter-opt | FileCheck %s

// CHECK-LABEL: func @parallel
func.func @parallel(%t: tensor<?x?x4xf32>, %h: tensor<?x?x4xf32>, %d: tensor<2x4xf32>, %u: tensor<4x2xf32>, %s: tensor<1xf32>) -> tensor<?x?x4xf32> {
  // CHECK: adapter.bottleneck %{{.*}} down %{{.*}} up %{{.*}} scale %{{.*}} residual %{{.*}} {
  %y = adapter.bottleneck %t down %d up %u scale %s residual %h {
  // CHECK-NEXT: ^bb0(%[[N:.*]]: tensor<?x?x2xf32>):
  ^bb0(%n: tensor<?x?x2xf32>):
    // CHECK-NEXT: %[[A:.*]] = onnx.node "Tanh"(%[[N]])
    %a = onnx.node "Tanh"(%n) {result_names = ["a"]} : (tensor<?x?x2xf32>) -> tensor<?x?x2xf32>
    // CHECK-NEXT: adapter.yield %[[A]] : tensor<?x?x2xf32>
    adapter.yield %a : tensor<?x?x2xf32>
  // CHECK-NEXT: } {factor = 4.000000e+00 : f64}
  } {factor = 4.0 : f64} : (tensor<?x?x4xf32>, tensor<2x4xf32>, tensor<4x2xf32>, tensor<1xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
  return %y : tensor<?x?x4xf32>
}

// A value of which the model says nothing, and an inner function that widens.
// CHECK-LABEL: func @unknown
func.func @unknown(%x: !onnx.unknown, %d: tensor<2x4xf32>, %u: tensor<4x3xf32>) -> !onnx.unknown {
  // CHECK: adapter.bottleneck %{{.*}} down %{{.*}} up %{{.*}} {
  %y = adapter.bottleneck %x down %d up %u {
  ^bb0(%n: !onnx.unknown):
    %a = onnx.node "Pad"(%n) {result_names = ["a"]} : (!onnx.unknown) -> tensor<?x3xf32>
    adapter.yield %a : tensor<?x3xf32>
  } : (!onnx.unknown, tensor<2x4xf32>, tensor<4x3xf32>) -> !onnx.unknown
  return %y : !onnx.unknown
}

// CHECK-LABEL: func @mixed
func.func @mixed(%w: tensor<4x2xf32>, %v: tensor<4x2xf32>, %m: tensor<4x2xi8>, %n: tensor<4x2xi1>) -> tensor<4x2xf32> {
  // CHECK: adapter.mask_mix select %{{.*}}, %{{.*}} masks %{{.*}}, %{{.*}} : tensor<4x2xf32>, tensor<4x2xf32> masks tensor<4x2xi8>, tensor<4x2xi1> -> tensor<4x2xf32>
  %y = adapter.mask_mix select %w, %v masks %m, %n : tensor<4x2xf32>, tensor<4x2xf32> masks tensor<4x2xi8>, tensor<4x2xi1> -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}

// CHECK: adapter.site @edge
adapter.site @edge {module = "layer.0.output", parameter = "residual_onto_sublayer", kind = #adapter.kind<bottleneck>,
                    time = #adapter.time<row>, rows = 4 : i64, columns = 4 : i64, bottlenecks = [#adapter.bottleneck<relu>]}
// CHECK-LABEL: func @later
func.func @later(%h: tensor<?x4xf32>, %t: tensor<?x4xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  // CHECK: adapter.act @edge on %{{.*}} of %{{.*}} : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  %x = adapter.act @edge on %h of %t : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  // CHECK: adapter.act @edge on %{{.*}} of %{{.*}} residual %{{.*}} :
  %y = adapter.act @edge on %x of %t residual %h : (tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %x, %y : tensor<?x4xf32>, tensor<?x4xf32>
}
