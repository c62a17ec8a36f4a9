// REQUIRES: onnx
// RUN: %make-adapter %s %t.lora
// RUN: adapter-opt %s --adapter x=%t.lora@row --adapter y=%t.lora@row --adapter z=%t.lora@switch | FileCheck %s
// ADAPTER
// {"tensors": {"layer.q.lora_A.weight": [2, 4], "layer.q.lora_B.weight": [3, 2]}}
// END

// CHECK-LABEL: onnx.model @m attributes
// Adapters of one time share a site; each is listed with its tensors.
// CHECK: adapter.resident "x" at <row> attributes {hash = "{{[0-9a-f]+}}"} {
// CHECK-NEXT: adapter.resident_update @site_1 "lora" rank 2 scale 1.000000e+00 {tensors = {A = #onnx.tensor<"x", "layer.q.weight.lora.A", tensor<2x4xf32>>
// CHECK: adapter.resident "y" at <row>
// CHECK: adapter.resident "z" at <switch>
// CHECK-NEXT: adapter.resident_update @site_0 "lora"
onnx.model @m attributes {ir_version = 9 : i64, opsets = ["", 20 : i64]} {
  // CHECK: adapter.site @site_0 {columns = 4 : i64, forms = ["lora"], kind = #adapter.kind<linear>, module = "layer.q", parameter = "weight", rows = 3 : i64, time = #adapter.time<switch>}
  // CHECK: adapter.site @site_1 {{.*}} time = #adapter.time<row>
  onnx.graph @main (%x: tensor<?x4xf32>) {
    // CHECK: %[[Q:.*]] = adapter.parameter
    // CHECK: %[[Z:.*]] = adapter.select @site_0 : !adapter.update<tensor<3x4xf32>>
    // CHECK: %[[WZ:.*]] = adapter.materialize %[[Q]], %[[Z]]
    // CHECK: %[[X:.*]] = adapter.select @site_1
    // CHECK: %[[WX:.*]] = adapter.materialize %[[WZ]], %[[X]]
    %q = adapter.parameter "base"::"val_1" : tensor<3x4xf32>
    // The update goes in front of what rearranges the weight.
    // CHECK: %[[T:.*]] = onnx.node "Transpose"(%[[WX]])
    %t = onnx.node "Transpose"(%q) {node_attributes = {perm = array<i64: 1, 0>}, result_names = ["t"]} : (tensor<3x4xf32>) -> tensor<4x3xf32>
    // CHECK: onnx.node "MatMul"(%{{.*}}, %[[T]])
    %0 = onnx.node "MatMul"(%x, %t) {node_name = "/model/layer/q/MatMul", result_names = ["0"]} : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
    onnx.return {output_names = ["0"]} %0 : tensor<?x3xf32>
  } {input_names = ["x"]}
}
