// RUN: adapter-opt %s --split-input-file --convert-onnx-to-linalg --canonicalize --cse | FileCheck %s

// Two dims of one name are equal in every run: nothing is checked.
// CHECK-LABEL: func.func @same_name
// CHECK-SAME: (%[[X:[a-z0-9]+]]: tensor<?x4xf32> {{.*}}, %[[Y:[a-z0-9]+]]: tensor<?x4xf32>
// CHECK-NOT: kernel.require
// CHECK: linalg.generic {{.*}} ins(%[[X]], %[[Y]] :
// CHECK: arith.addf
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @same_name (%x: tensor<?x4xf32, #onnx.dims<"n", "">>, %y: tensor<?x4xf32, #onnx.dims<"n", "">>) {
    %z = onnx.node "Add"(%x, %y) {result_names = ["z"]} : (tensor<?x4xf32, #onnx.dims<"n", "">>, tensor<?x4xf32, #onnx.dims<"n", "">>) -> tensor<?x4xf32, #onnx.dims<"n", "">>
    onnx.return {output_names = ["z"]} %z : tensor<?x4xf32, #onnx.dims<"n", "">>
  } {input_names = ["x", "y"]}
}

// -----

// Dims of two names may be equal, or one of them 1: that is found out in the call.
// CHECK-LABEL: func.func @may_be_one
// CHECK: kernel.require %{{.*}}, "Mul node 'z': tensor 'x' has {0} along axis 0, tensor 'y' has {1} along axis 0"(%{{.*}}, %{{.*}})
// CHECK: kernel.require %{{.*}}, "Mul node 'z': tensor 'y' has {0} along axis 0, tensor 'x' has {1} along axis 0"(%{{.*}}, %{{.*}})
// CHECK: linalg.generic
// CHECK: arith.select
// CHECK: tensor.extract
// CHECK: arith.mulf
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @may_be_one (%x: tensor<?x4xf32, #onnx.dims<"n", "">>, %y: tensor<?x4xf32, #onnx.dims<"m", "">>) {
    %z = onnx.node "Mul"(%x, %y) {result_names = ["z"]} : (tensor<?x4xf32, #onnx.dims<"n", "">>, tensor<?x4xf32, #onnx.dims<"m", "">>) -> tensor<?x4xf32>
    onnx.return {output_names = ["z"]} %z : tensor<?x4xf32>
  } {input_names = ["x", "y"]}
}

// -----

// A static 1 is an indexing map.
// CHECK-DAG: #[[$ID:.*]] = affine_map<(d0, d1) -> (d0, d1)>
// CHECK-DAG: #[[$ROW:.*]] = affine_map<(d0, d1) -> (0, d1)>
// CHECK-LABEL: func.func @broadcast_static
// CHECK-NOT: kernel.require
// CHECK: linalg.generic {indexing_maps = [#[[$ID]], #[[$ROW]], #[[$ID]]]
// CHECK: arith.subf
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @broadcast_static (%x: tensor<?x4xf32, #onnx.dims<"n", "">>, %y: tensor<1x4xf32>) {
    %z = onnx.node "Sub"(%x, %y) {result_names = ["z"]} : (tensor<?x4xf32, #onnx.dims<"n", "">>, tensor<1x4xf32>) -> tensor<?x4xf32, #onnx.dims<"n", "">>
    onnx.return {output_names = ["z"]} %z : tensor<?x4xf32, #onnx.dims<"n", "">>
  } {input_names = ["x", "y"]}
}

// -----

// Signless from here on; the operation keeps the sign.
// CHECK-LABEL: func.func @unsigned
// CHECK-SAME: tensor<4xi8>
// CHECK: arith.cmpi ult
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @unsigned (%x: tensor<4xui8>, %y: tensor<4xui8>) {
    %z = onnx.node "Less"(%x, %y) {result_names = ["z"]} : (tensor<4xui8>, tensor<4xui8>) -> tensor<4xi1>
    onnx.return {output_names = ["z"]} %z : tensor<4xi1>
  } {input_names = ["x", "y"]}
}

// -----

// CHECK-LABEL: func.func @relu
// CHECK: arith.maximumf
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @relu (%x: tensor<?x4xf32, #onnx.dims<"n", "">>) {
    %z = onnx.node "Relu"(%x) {result_names = ["z"]} : (tensor<?x4xf32, #onnx.dims<"n", "">>) -> tensor<?x4xf32, #onnx.dims<"n", "">>
    onnx.return {output_names = ["z"]} %z : tensor<?x4xf32, #onnx.dims<"n", "">>
  } {input_names = ["x"]}
}

// -----

// Casts that change nothing hand known elements on; equal ones are not merged under the other's feet.
// CHECK-LABEL: func.func @known
// CHECK: return %{{.*}} : tensor<4xi1>
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @known (%x: tensor<4xi1>) {
    %a = adapter.parameter "base"::"a" = dense<[1, 2, 3, 4]> : tensor<4xi64> : tensor<4xi64>
    %z = adapter.parameter "base"::"z" = dense<2> : tensor<i64> : tensor<i64>
    %t = adapter.parameter "base"::"t" = dense<true> : tensor<i1> : tensor<i1>
    %g = onnx.node "GreaterOrEqual"(%a, %z) {result_names = ["g"]} : (tensor<4xi64>, tensor<i64>) -> tensor<4xi1>
    %c = onnx.node "Cast"(%g) {node_attributes = {to = 9 : i64}, result_names = ["c"]} : (tensor<4xi1>) -> tensor<4xi1>
    %n = onnx.node "And"(%t, %c) {result_names = ["n"]} : (tensor<i1>, tensor<4xi1>) -> tensor<4xi1>
    %y = onnx.node "And"(%n, %x) {result_names = ["y"]} : (tensor<4xi1>, tensor<4xi1>) -> tensor<4xi1>
    onnx.return {output_names = ["y"]} %y : tensor<4xi1>
  } {input_names = ["x"]}
}
