// RUN: adapter-opt %s --split-input-file --adapter-slice-networks=slices=2 | FileCheck %s
// RUN: adapter-opt %s --split-input-file --adapter-slice-networks=slices=2 --adapter-partition-experts=ranks=2 --convert-onnx-to-linalg | FileCheck %s --check-prefix=LINALG
// RUN: not adapter-opt %s --split-input-file --adapter-slice-networks=slices=4 2>&1 | FileCheck %s --check-prefix=UNEVEN
// RUN: not adapter-opt %s --split-input-file --adapter-slice-networks=slices=0 2>&1 | FileCheck %s --check-prefix=NONE
// UNEVEN: error: --partition-experts: 4 ranks do not divide the 6 neurons of the network before MatMul node 'fc2'
// NONE: error: cannot slice networks into 0 parts

// With biases: that of the second product stays a node.
// CHECK-LABEL: onnx.graph @plain
// CHECK: %[[X:.*]] = onnx.node "Reshape"(%{{.*}}) {{.*}} -> tensor<?x4xf32>
// CHECK: %[[IDS:.*]] = onnx.node "Expand"({{.*}} -> tensor<?x2xi64>
// CHECK: %[[ONES:.*]] = onnx.node "Expand"({{.*}} -> tensor<?x2xf32>
// CHECK: %[[UP:.*]] = onnx.node "Transpose"({{.*}} -> tensor<2x4x3xf32>
// CHECK: %[[BIAS:.*]] = onnx.node "Reshape"({{.*}} -> tensor<2x3xf32>
// CHECK: %[[DOWN:.*]] = onnx.node "Reshape"({{.*}} -> tensor<2x3x4xf32>
// CHECK: adapter.experts gelu %[[X]], %[[IDS]], %[[ONES]], %[[UP]], %[[DOWN]] bias %[[BIAS]] {transposed}
// CHECK-NOT: "Gelu"
// CHECK: onnx.node "Add"
// LINALG-LABEL: func.func @plain
// LINALG: kernel.grouped_linear {{.*}} bias(%{{.*}} : tensor<2x3xf32>)
// LINALG: kernel.all_gather_rows
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @plain (%x: tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>) {
    %w = adapter.parameter "base"::"w" : tensor<4x6xf32>
    %b = adapter.parameter "base"::"b" : tensor<6xf32>
    %v = adapter.parameter "base"::"v" : tensor<6x4xf32>
    %c = adapter.parameter "base"::"c" : tensor<4xf32>
    %0 = onnx.node "MatMul"(%x, %w) {node_name = "fc1", result_names = ["0"]} : (tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>, tensor<4x6xf32>) -> tensor<?x?x6xf32>
    %1 = onnx.node "Add"(%b, %0) {node_name = "add", result_names = ["1"]} : (tensor<6xf32>, tensor<?x?x6xf32>) -> tensor<?x?x6xf32>
    %2 = onnx.node "Gelu"(%1) {node_name = "act", result_names = ["2"]} : (tensor<?x?x6xf32>) -> tensor<?x?x6xf32>
    %3 = onnx.node "MatMul"(%2, %v) {node_name = "fc2", result_names = ["3"]} : (tensor<?x?x6xf32>, tensor<6x4xf32>) -> tensor<?x?x4xf32>
    %4 = onnx.node "Add"(%3, %c) {node_name = "add2", result_names = ["y"]} : (tensor<?x?x4xf32>, tensor<4xf32>) -> tensor<?x?x4xf32>
    onnx.return {output_names = ["y"]} %4 : tensor<?x?x4xf32>
  } {input_names = ["x"]}
}

// -----

// The gate's columns stand before those of what it gates, slice by slice.
// CHECK-LABEL: onnx.graph @gated
// CHECK: %[[G:.*]] = onnx.node "Transpose"({{.*}} -> tensor<2x4x3xf32>
// CHECK: %[[U:.*]] = onnx.node "Transpose"({{.*}} -> tensor<2x4x3xf32>
// CHECK: %[[UP:.*]] = onnx.node "Concat"(%[[G]], %[[U]]) {{.*}}axis = 2{{.*}} -> tensor<2x4x6xf32>
// CHECK: adapter.experts silu %{{.*}}, %{{.*}}, %{{.*}}, %[[UP]], %{{.*}} {gated, transposed}
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @gated (%x: tensor<?x4xf32, #onnx.dims<"t", "">>) {
    %g = adapter.parameter "base"::"g" : tensor<4x6xf32>
    %u = adapter.parameter "base"::"u" : tensor<4x6xf32>
    %v = adapter.parameter "base"::"v" : tensor<6x4xf32>
    %0 = onnx.node "MatMul"(%x, %g) {node_name = "gate", result_names = ["0"]} : (tensor<?x4xf32, #onnx.dims<"t", "">>, tensor<4x6xf32>) -> tensor<?x6xf32>
    %1 = onnx.node "Sigmoid"(%0) {node_name = "s", result_names = ["1"]} : (tensor<?x6xf32>) -> tensor<?x6xf32>
    %2 = onnx.node "Mul"(%0, %1) {node_name = "silu", result_names = ["2"]} : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
    %3 = onnx.node "MatMul"(%x, %u) {node_name = "up", result_names = ["3"]} : (tensor<?x4xf32, #onnx.dims<"t", "">>, tensor<4x6xf32>) -> tensor<?x6xf32>
    %4 = onnx.node "Mul"(%2, %3) {node_name = "product", result_names = ["4"]} : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
    %5 = onnx.node "MatMul"(%4, %v) {node_name = "down", result_names = ["y"]} : (tensor<?x6xf32>, tensor<6x4xf32>) -> tensor<?x4xf32>
    onnx.return {output_names = ["y"]} %5 : tensor<?x4xf32>
  } {input_names = ["x"]}
}
