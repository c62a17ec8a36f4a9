// RUN: adapter-opt %s --cse --canonicalize | FileCheck %s

// Equal nodes are merged, those that draw random numbers are not.
// CHECK-LABEL: func.func @merge
func.func @merge(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
  // CHECK-COUNT-1: onnx.node "Abs"
  // CHECK-NOT: onnx.node "Abs"
  %a = onnx.node "Abs"(%x) {result_names = ["a"]} : (tensor<4xf32>) -> tensor<4xf32>
  %b = onnx.node "Abs"(%x) {result_names = ["a"]} : (tensor<4xf32>) -> tensor<4xf32>
  // CHECK-COUNT-2: onnx.node "RandomUniformLike"
  %c = onnx.node "RandomUniformLike"(%x) {result_names = ["c"]} : (tensor<4xf32>) -> tensor<4xf32>
  %d = onnx.node "RandomUniformLike"(%x) {result_names = ["c"]} : (tensor<4xf32>) -> tensor<4xf32>
  return %a, %b, %c, %d : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}
