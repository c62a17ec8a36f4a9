// RUN: adapter-opt %s --split-input-file --convert-onnx-to-linalg --verify-diagnostics | FileCheck %s

// The batch in front: the kernel reads positions as they lie.
// CHECK-LABEL: func.func @front
// CHECK-NOT: linalg.generic
// CHECK: kernel.row_linear ins(%{{.*}} : tensor<?x4xf32>) weight(%{{.*}} : tensor<1x4x32xf32>) outs(%{{.*}} : tensor<?x4xf32>) {bank = 0 : i64}
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  adapter.site @s {columns = 4 : i64, forms = ["lora"], kind = #adapter.kind<linear>, module = "q", parameter = "weight", rows = 4 : i64, time = #adapter.time<row>, transposed}
  onnx.graph @front (%x: tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>) {
    %w = adapter.parameter "base"::"w" = dense<1.0> : tensor<4x4xf32> : tensor<4x4xf32>
    %u = adapter.select @s : !adapter.update<tensor<4x4xf32>>
    %v = adapter.materialize %w, %u : tensor<4x4xf32>
    %y = onnx.node "MatMul"(%x, %v) {result_names = ["y"]} : (tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>, tensor<4x4xf32>) -> tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>
    onnx.return {output_names = ["y"]} %y : tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>
  } {input_names = ["x"]}
}

// -----

// A sequence in front of the batch, flattened with it: positions are brought together by row and back.
// CHECK-LABEL: func.func @behind
// CHECK-COUNT-2: linalg.generic
// CHECK: kernel.row_linear {{.*}} weight(
// CHECK: linalg.generic
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  adapter.site @s {columns = 4 : i64, forms = ["lora"], kind = #adapter.kind<linear>, module = "q", parameter = "weight", rows = 4 : i64, time = #adapter.time<row>, transposed}
  onnx.graph @behind (%x: tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>) {
    %shape = adapter.parameter "base"::"shape" = dense<[-1, 4]> : tensor<2xi64> : tensor<2xi64>
    %w = adapter.parameter "base"::"w" = dense<1.0> : tensor<4x4xf32> : tensor<4x4xf32>
    %u = adapter.select @s : !adapter.update<tensor<4x4xf32>>
    %v = adapter.materialize %w, %u : tensor<4x4xf32>
    %t = onnx.node "Transpose"(%x) {node_attributes = {perm = array<i64: 1, 0, 2>}, result_names = ["t"]} : (tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>) -> tensor<?x?x4xf32, #onnx.dims<"s", "b", "">>
    %f = onnx.node "Reshape"(%t, %shape) {result_names = ["f"]} : (tensor<?x?x4xf32, #onnx.dims<"s", "b", "">>, tensor<2xi64>) -> tensor<?x4xf32>
    %y = onnx.node "MatMul"(%f, %v) {result_names = ["y"]} : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x4xf32>
  } {input_names = ["x"]}
}

// -----

// A sum over the batch belongs to no row.
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  adapter.site @s {columns = 4 : i64, forms = ["lora"], kind = #adapter.kind<linear>, module = "q", parameter = "weight", rows = 4 : i64, time = #adapter.time<row>, transposed}
  onnx.graph @summed (%x: tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>) {
    %axes = adapter.parameter "base"::"axes" = dense<0> : tensor<1xi64> : tensor<1xi64>
    %w = adapter.parameter "base"::"w" = dense<1.0> : tensor<4x4xf32> : tensor<4x4xf32>
    %u = adapter.select @s : !adapter.update<tensor<4x4xf32>>
    %v = adapter.materialize %w, %u : tensor<4x4xf32>
    %t = onnx.node "ReduceSum"(%x, %axes) {node_attributes = {keepdims = 0 : i64}, result_names = ["t"]} : (tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>, tensor<1xi64>) -> tensor<?x4xf32, #onnx.dims<"s", "">>
    // expected-error @below {{MatMul node 'y': the rows of the call cannot be traced to its input: ReduceSum node 't' works along their axis; bind the adapter at build}}
    %y = onnx.node "MatMul"(%t, %v) {result_names = ["y"]} : (tensor<?x4xf32, #onnx.dims<"s", "">>, tensor<4x4xf32>) -> tensor<?x4xf32, #onnx.dims<"s", "">>
    onnx.return {output_names = ["y"]} %y : tensor<?x4xf32, #onnx.dims<"s", "">>
  } {input_names = ["x"]}
}

// -----

// A bias that is one for all rows comes with the product.
// CHECK-LABEL: func.func @biased
// CHECK: kernel.row_linear {{.*}} weight(%{{.*}}) bias(%{{.*}} : tensor<4xf32>) {{.*}}{bank = 0 : i64}
// CHECK-NOT: linalg.generic
// CHECK: return
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  adapter.site @s {columns = 4 : i64, forms = ["lora"], kind = #adapter.kind<linear>, module = "q", parameter = "weight", rows = 4 : i64, time = #adapter.time<row>, transposed}
  onnx.graph @biased (%x: tensor<?x4xf32, #onnx.dims<"b", "">>) {
    %w = adapter.parameter "base"::"w" = dense<1.0> : tensor<4x4xf32> : tensor<4x4xf32>
    %b = adapter.parameter "base"::"b" = dense<1.0> : tensor<4xf32> : tensor<4xf32>
    %u = adapter.select @s : !adapter.update<tensor<4x4xf32>>
    %v = adapter.materialize %w, %u : tensor<4x4xf32>
    %y = onnx.node "Gemm"(%x, %v, %b) {result_names = ["y"]} : (tensor<?x4xf32, #onnx.dims<"b", "">>, tensor<4x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x4xf32>
  } {input_names = ["x"]}
}

// -----

// Of two places for updates the second acts on what the first made, and the bias follows both.
// CHECK-LABEL: func.func @twice
// CHECK: %[[FIRST:.*]] = kernel.row_linear {{.*}} weight(%{{[^)]*}}) outs({{.*}}{bank = 0 : i64}
// CHECK: kernel.row_linear {{.*}} outs(%[[FIRST]] {{.*}}{accumulate, bank = 1 : i64}
// CHECK: linalg.generic
// CHECK: arith.addf
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  adapter.site @s {columns = 4 : i64, forms = ["lora"], kind = #adapter.kind<linear>, module = "q", parameter = "weight", rows = 4 : i64, time = #adapter.time<row>, transposed}
  adapter.site @t {columns = 4 : i64, forms = ["lora"], kind = #adapter.kind<linear>, module = "q", parameter = "weight", rows = 4 : i64, time = #adapter.time<call>, transposed}
  onnx.graph @twice (%x: tensor<?x4xf32, #onnx.dims<"b", "">>) {
    %w = adapter.parameter "base"::"w" = dense<1.0> : tensor<4x4xf32> : tensor<4x4xf32>
    %b = adapter.parameter "base"::"b" = dense<1.0> : tensor<4xf32> : tensor<4xf32>
    %u = adapter.select @s : !adapter.update<tensor<4x4xf32>>
    %v = adapter.materialize %w, %u : tensor<4x4xf32>
    %more = adapter.select @t : !adapter.update<tensor<4x4xf32>>
    %z = adapter.materialize %v, %more : tensor<4x4xf32>
    %y = onnx.node "Gemm"(%x, %z, %b) {result_names = ["y"]} : (tensor<?x4xf32, #onnx.dims<"b", "">>, tensor<4x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x4xf32>
  } {input_names = ["x"]}
}

// -----

// A running sum along the sequence stays in its row.
// CHECK-LABEL: func.func @running
// CHECK: kernel.row_linear
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  adapter.site @s {columns = 4 : i64, forms = ["lora"], kind = #adapter.kind<linear>, module = "q", parameter = "weight", rows = 4 : i64, time = #adapter.time<row>, transposed}
  onnx.graph @running (%x: tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>) {
    %axis = adapter.parameter "base"::"axis" = dense<1> : tensor<i64> : tensor<i64>
    %w = adapter.parameter "base"::"w" = dense<1.0> : tensor<4x4xf32> : tensor<4x4xf32>
    %u = adapter.select @s : !adapter.update<tensor<4x4xf32>>
    %v = adapter.materialize %w, %u : tensor<4x4xf32>
    %c = onnx.node "CumSum"(%x, %axis) {result_names = ["c"]} : (tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>, tensor<i64>) -> tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>
    %t = onnx.node "Add"(%x, %c) {result_names = ["t"]} : (tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>, tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>) -> tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>
    %y = onnx.node "MatMul"(%t, %v) {result_names = ["y"]} : (tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>, tensor<4x4xf32>) -> tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>
    onnx.return {output_names = ["y"]} %y : tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>
  } {input_names = ["x"]}
}

// -----

// One along the batch mixes rows, and so does all that reads it beside others.
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  adapter.site @s {columns = 4 : i64, forms = ["lora"], kind = #adapter.kind<linear>, module = "q", parameter = "weight", rows = 4 : i64, time = #adapter.time<row>, transposed}
  onnx.graph @mixed (%x: tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>) {
    %axis = adapter.parameter "base"::"axis" = dense<0> : tensor<i64> : tensor<i64>
    %w = adapter.parameter "base"::"w" = dense<1.0> : tensor<4x4xf32> : tensor<4x4xf32>
    %u = adapter.select @s : !adapter.update<tensor<4x4xf32>>
    %v = adapter.materialize %w, %u : tensor<4x4xf32>
    %c = onnx.node "CumSum"(%x, %axis) {result_names = ["c"]} : (tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>, tensor<i64>) -> tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>
    %t = onnx.node "Add"(%x, %c) {result_names = ["t"]} : (tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>, tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>) -> tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>
    // expected-error @below {{MatMul node 'y': the rows of the call cannot be traced to its input: CumSum node 'c' works along their axis; bind the adapter at build}}
    %y = onnx.node "MatMul"(%t, %v) {result_names = ["y"]} : (tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>, tensor<4x4xf32>) -> tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>
    onnx.return {output_names = ["y"]} %y : tensor<?x?x4xf32, #onnx.dims<"b", "s", "">>
  } {input_names = ["x"]}
}
