// RUN: adapter-opt %s --convert-onnx-to-linalg --split-input-file --verify-diagnostics | FileCheck %s

// A module acts on positions; the residual that is not what it acts on comes along.
// CHECK-LABEL: func.func @main
// CHECK: kernel.row_bottleneck ins(%{{.*}} : tensor<?x4xf32>) outs(%{{.*}} : tensor<?x4xf32>) {accumulate, bank = 0 : i64, bottlenecks = [#adapter.bottleneck<relu>]}
// CHECK: kernel.row_bottleneck ins(%{{.*}}, %{{.*}} : tensor<?x4xf32>, tensor<?x4xf32>) outs(%{{.*}} : tensor<?x4xf32>) {accumulate, bank = 1 : i64
onnx.model @m attributes {ir_version = 9 : i64, opsets = ["", 20 : i64]} {
  adapter.site @a {columns = 4 : i64, bottlenecks = [#adapter.bottleneck<relu>], kind = #adapter.kind<bottleneck>, module = "b", parameter = "sublayer_onto_sublayer", rows = 4 : i64, time = #adapter.time<row>}
  adapter.site @c {columns = 4 : i64, bottlenecks = [#adapter.bottleneck<silu>], kind = #adapter.kind<bottleneck>, module = "b", parameter = "sum_onto_sum_final", rows = 4 : i64, time = #adapter.time<row>}
  onnx.graph @main (%x: tensor<?x?x4xf32>) {
    %0 = onnx.node "Relu"(%x) {node_name = "relu", result_names = ["0"]} : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
    %1 = adapter.act @a on %0 of %0 : (tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
    %2 = adapter.act @c on %1 of %x residual %x : (tensor<?x?x4xf32>, tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
    onnx.return {output_names = ["0"]} %2 : tensor<?x?x4xf32>
  } {input_names = ["x"]}
}

// -----

// A value that no row of the call reaches cannot differ by row.
onnx.model @m attributes {ir_version = 9 : i64, opsets = ["", 20 : i64]} {
  adapter.site @a {columns = 4 : i64, bottlenecks = [#adapter.bottleneck<relu>], kind = #adapter.kind<bottleneck>, module = "b", parameter = "sublayer_onto_sublayer", rows = 4 : i64, time = #adapter.time<row>}
  onnx.graph @main (%x: tensor<?x4xf32>) {
    %w = adapter.parameter "base"::"w" : tensor<3x4xf32>
    %0 = onnx.node "Relu"(%w) {node_name = "relu", result_names = ["0"]} : (tensor<3x4xf32>) -> tensor<3x4xf32>
    // expected-error @below {{module at 'b': its input does not depend on the rows of the call}}
    %1 = adapter.act @a on %0 of %0 : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<3x4xf32>
    onnx.return {output_names = ["0"]} %1 : tensor<3x4xf32>
  } {input_names = ["x"]}
}
