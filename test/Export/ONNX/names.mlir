// REQUIRES: onnx
// RUN: adapter-opt %s -o %t.onnx && %make-onnx --print %t.onnx | FileCheck %s

// Names stay unique when passes add values, and an output keeps its name.
onnx.model @names attributes {ir_version = 8 : i64, opsets = ["", 17]} {
  onnx.graph @main (%x: tensor<2xi64>) {
    %k = adapter.parameter "base"::"y" = dense<[1, 2]> : tensor<2xi64>
    %a = onnx.node "Add"(%x, %k) {result_names = ["x"]} : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
    %b = onnx.node "Add"(%a, %k) {result_names = ["renamed"]} : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>
    onnx.return {output_names = ["y", "same"]} %b, %x : tensor<2xi64>, tensor<2xi64>
  } {input_names = ["x"]}
}
// CHECK: input: "x"
// CHECK-NEXT: input: "y_1"
// CHECK-NEXT: output: "x_1"
// CHECK: input: "x_1"
// CHECK-NEXT: input: "y_1"
// CHECK-NEXT: output: "y"
// CHECK: input: "x"
// CHECK-NEXT: output: "same"
// CHECK-NEXT: op_type: "Identity"
// CHECK: initializer {
// CHECK: name: "y_1"
