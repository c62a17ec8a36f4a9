// RUN: adapter-opt %s --split-input-file --convert-onnx-to-linalg --verify-diagnostics | FileCheck %s

// Attention's output belongs to its queries' tokens, whatever it reads of the others.
// CHECK-LABEL: func.func @attention
// CHECK: kernel.row_linear
// CHECK-NOT: func.func
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  adapter.site @s {columns = 4 : i64, forms = ["lora"], kind = #adapter.kind<linear>, module = "o", parameter = "weight", rows = 4 : i64, time = #adapter.time<row>, transposed, by_token = #adapter.by_token<adapter>}
  onnx.graph @attention (%x: tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>) {
    %w = adapter.parameter "base"::"w" = dense<1.0> : tensor<4x4xf32> : tensor<4x4xf32>
    %u = adapter.select @s : !adapter.update<tensor<4x4xf32>>
    %v = adapter.materialize %w, %u : tensor<4x4xf32>
    %k = onnx.node "Transpose"(%x) {node_attributes = {perm = array<i64: 0, 2, 1>}, result_names = ["k"]} : (tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>) -> tensor<?x4x?xf32, #onnx.dims<"b", "", "s">>
    %p = onnx.node "MatMul"(%x, %k) {result_names = ["p"]} : (tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>, tensor<?x4x?xf32, #onnx.dims<"b", "", "s">>) -> tensor<?x?x?xf32, #onnx.dims<"b", "s", "s">>
    %c = onnx.node "MatMul"(%p, %x) {result_names = ["c"]} : (tensor<?x?x?xf32, #onnx.dims<"b", "s", "s">>, tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>) -> tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>
    %y = onnx.node "MatMul"(%c, %v) {result_names = ["y"]} : (tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>, tensor<4x4xf32>) -> tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>
    onnx.return {output_names = ["y"]} %y : tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>
  } {input_names = ["x"]}
}

// -----

// A mean over tokens has none: an adapter of the build is an error.
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  // expected-error @+1 {{module 'head', parameter 'weight': what it acts on cannot be told apart by token: ReduceMean node 'p' works along their axis; bind the adapter at row}}
  adapter.site @s {columns = 4 : i64, forms = ["lora"], kind = #adapter.kind<linear>, module = "head", parameter = "weight", rows = 4 : i64, time = #adapter.time<row>, transposed, by_token = #adapter.by_token<adapter>}
  onnx.graph @mean (%x: tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>) {
    %axes = adapter.parameter "base"::"axes" = dense<1> : tensor<1xi64> : tensor<1xi64>
    %w = adapter.parameter "base"::"w" = dense<1.0> : tensor<4x4xf32> : tensor<4x4xf32>
    %u = adapter.select @s : !adapter.update<tensor<4x4xf32>>
    %v = adapter.materialize %w, %u : tensor<4x4xf32>
    %p = onnx.node "ReduceMean"(%x, %axes) {node_attributes = {keepdims = 0 : i64}, result_names = ["p"]} : (tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>, tensor<1xi64>) -> tensor<?x4xf32, #onnx.dims<"b", "">>
    %y = onnx.node "MatMul"(%p, %v) {result_names = ["y"]} : (tensor<?x4xf32, #onnx.dims<"b", "">>, tensor<4x4xf32>) -> tensor<?x4xf32, #onnx.dims<"b", "">>
    onnx.return {output_names = ["y"]} %y : tensor<?x4xf32, #onnx.dims<"b", "">>
  } {input_names = ["x"]}
}

// -----

// Room alone becomes room by row.
// CHECK-LABEL: func.func @room
// CHECK: kernel.row_linear
// CHECK: adapter.site @s {bank = 0 : i64, columns
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  adapter.site @s {columns = 4 : i64, forms = ["lora"], kind = #adapter.kind<linear>, module = "head", parameter = "weight", rows = 4 : i64, time = #adapter.time<row>, transposed, spare, slots = ["s"], by_token = #adapter.by_token<room>}
  onnx.graph @room (%x: tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>) {
    %axes = adapter.parameter "base"::"axes" = dense<1> : tensor<1xi64> : tensor<1xi64>
    %w = adapter.parameter "base"::"w" = dense<1.0> : tensor<4x4xf32> : tensor<4x4xf32>
    %u = adapter.select @s : !adapter.update<tensor<4x4xf32>>
    %v = adapter.materialize %w, %u : tensor<4x4xf32>
    %p = onnx.node "ReduceMean"(%x, %axes) {node_attributes = {keepdims = 0 : i64}, result_names = ["p"]} : (tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>, tensor<1xi64>) -> tensor<?x4xf32, #onnx.dims<"b", "">>
    %y = onnx.node "MatMul"(%p, %v) {result_names = ["y"]} : (tensor<?x4xf32, #onnx.dims<"b", "">>, tensor<4x4xf32>) -> tensor<?x4xf32, #onnx.dims<"b", "">>
    onnx.return {output_names = ["y"]} %y : tensor<?x4xf32, #onnx.dims<"b", "">>
  } {input_names = ["x"]}
}
