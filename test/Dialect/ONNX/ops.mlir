// RUN: adapter-opt %s | adapter-opt | FileCheck %s
// RUN: adapter-opt %s --mlir-print-op-generic | adapter-opt | FileCheck %s

// CHECK-LABEL: onnx.model @all attributes {explicit_domains, extra = "producer_name: \22p\22", ir_version = 8 : i64, opsets = ["", 17]}
onnx.model @all attributes {explicit_domains, extra = "producer_name: \22p\22", ir_version = 8 : i64, opsets = ["", 17]} {
  // CHECK: onnx.graph @main (%[[X:.*]]: tensor<?x4xf32, #onnx.dims<"batch", "">>, %[[C:.*]]: tensor<i1>)
  onnx.graph @main (%x: tensor<?x4xf32, #onnx.dims<"batch", "">>, %c: tensor<i1>) {
    // CHECK: %[[NONE:.*]] = onnx.absent
    %none = onnx.absent
    // CHECK: %[[W:.*]] = adapter.parameter "base"::"w" : tensor<4x4xf32>
    %w = adapter.parameter "base"::"w" : tensor<4x4xf32>
    // CHECK: %[[Y:.*]] = onnx.node "Gemm"(%[[X]], %[[W]], %[[NONE]]) {node_attributes = {alpha = 5.000000e-01 : f32}, result_names = ["y"]}
    %y = onnx.node "Gemm"(%x, %w, %none) {node_attributes = {alpha = 0.5 : f32}, result_names = ["y"]} : (tensor<?x4xf32, #onnx.dims<"batch", "">>, tensor<4x4xf32>, none) -> tensor<?x4xf32, #onnx.dims<"batch", "">>
    // CHECK: onnx.node "If"(%[[C]]) {region_names = ["else_branch", "then_branch"], result_names = ["z"]}
    %z = onnx.node "If"(%c) {region_names = ["else_branch", "then_branch"], result_names = ["z"]} : (tensor<i1>) -> tensor<*xf32> {
      // CHECK: onnx.return {output_names = ["y"]} %[[Y]]
      onnx.return {output_names = ["y"]} %y : tensor<?x4xf32, #onnx.dims<"batch", "">>
    }, {
      // CHECK: value = #onnx.tensor<"base", "k.value", tensor<100xf32> extra "name: \22k\22">
      %k = onnx.node "Constant"() {node_attributes = {value = #onnx.tensor<"base", "k.value", tensor<100xf32> extra "name: \22k\22">}, result_names = ["k"]} : () -> tensor<100xf32>
      onnx.return {output_names = ["k"]} %k : tensor<100xf32>
    }
    // CHECK: onnx.node "F"
    // CHECK-SAME: domain = "local"
    %f = onnx.node "F"(%z) {domain = "local", result_names = ["f"]} : (tensor<*xf32>) -> !onnx.unknown
    // CHECK: onnx.return
    onnx.return {output_names = ["f"]} %f : !onnx.unknown
  } {input_names = ["x", "c"]}
  // CHECK: onnx.function @"local::F" (%{{.*}}: !onnx.unknown)
  onnx.function @"local::F" (%a: !onnx.unknown) {
    onnx.return {output_names = ["a"]} %a : !onnx.unknown
  } {domain = "local", function_name = "F", input_names = ["a"], opsets = ["", 13]}
}

// CHECK-LABEL: func.func private @types
// CHECK-SAME: tensor<?x3x!onnx.string>, !onnx.sequence<tensor<*xf32>>, !onnx.optional<!onnx.sequence<tensor<2xi64>>>
// CHECK-SAME: !onnx.map<i64, tensor<!onnx.string>>, !onnx.sparse_tensor<tensor<3x?xf32>>
func.func private @types(tensor<?x3x!onnx.string>, !onnx.sequence<tensor<*xf32>>,
                         !onnx.optional<!onnx.sequence<tensor<2xi64>>>, !onnx.map<i64, tensor<!onnx.string>>,
                         !onnx.sparse_tensor<tensor<3x?xf32>>)
