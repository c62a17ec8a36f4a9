// RUN: adapter-opt %s --convert-onnx-to-linalg --canonicalize --split-input-file --verify-diagnostics | FileCheck %s

// What the graph has once for all rows is there once for each behind an adapter of rows. Where the graph repeats it for
// its batch it is there already: each row's own heads lie one after the other.
// CHECK-LABEL: func.func @repeated(
// CHECK: kernel.linear {{.*}} -> tensor<3x4xf32>
// CHECK: kernel.row_linear {{.*}}bank = 0 : i64
// CHECK: kernel.reshape %{{.*}} to tensor<?x3x2x2xf32>
// CHECK: linalg.generic {{.*}} outs(%{{.*}} : tensor<?x2x3x2xf32>)
// CHECK: %[[P:.*]] = kernel.reshape %{{.*}}[%{{.*}}] : tensor<?x2x3x2xf32> to tensor<?x3x2xf32>
// CHECK-NOT: tensor.extract
// CHECK: kernel.batch_matmul ins(%{{.*}}, %[[P]]
onnx.model @m attributes {ir_version = 9 : i64, opsets = ["", 20 : i64]} {
  adapter.site @p {columns = 4 : i64, forms = ["lora"], kind = #adapter.kind<linear>, module = "p", parameter = "weight", rows = 4 : i64, time = #adapter.time<row>, transposed}
  onnx.graph @repeated (%x: tensor<?x2x5x3xf32, #onnx.dims<"n", "", "", "">>) {
    %c = adapter.parameter "base"::"c" : tensor<3x4xf32>
    %p = adapter.parameter "base"::"p" : tensor<4x4xf32>
    %up = adapter.select @p : !adapter.update<tensor<4x4xf32>>
    %vp = adapter.materialize %p, %up : tensor<4x4xf32>
    %0 = onnx.node "MatMul"(%c, %vp) {node_name = "p", result_names = ["0"]} : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
    %heads = adapter.parameter "base"::"heads" = dense<[3, 2, 2]> : tensor<3xi64>
    %1 = onnx.node "Reshape"(%0, %heads) {node_name = "heads", result_names = ["1"]} : (tensor<3x4xf32>, tensor<3xi64>) -> tensor<3x2x2xf32>
    %2 = onnx.node "Transpose"(%1) {node_attributes = {perm = array<i64: 1, 0, 2>}, node_name = "t", result_names = ["2"]} : (tensor<3x2x2xf32>) -> tensor<2x3x2xf32>
    %n = onnx.node "Shape"(%x) {node_attributes = {end = 1 : i64}, result_names = ["n"]} : (tensor<?x2x5x3xf32, #onnx.dims<"n", "", "", "">>) -> tensor<1xi64>
    %ones = adapter.parameter "base"::"ones" = dense<1> : tensor<2xi64>
    %often = onnx.node "Concat"(%n, %ones) {node_attributes = {axis = 0 : i64}, result_names = ["often"]} : (tensor<1xi64>, tensor<2xi64>) -> tensor<3xi64>
    %3 = onnx.node "Tile"(%2, %often) {node_name = "tile", result_names = ["3"]} : (tensor<2x3x2xf32>, tensor<3xi64>) -> tensor<?x3x2xf32>
    %flat = adapter.parameter "base"::"flat" = dense<[-1, 5, 3]> : tensor<3xi64>
    %q = onnx.node "Reshape"(%x, %flat) {node_name = "q", result_names = ["q"]} : (tensor<?x2x5x3xf32, #onnx.dims<"n", "", "", "">>, tensor<3xi64>) -> tensor<?x5x3xf32>
    %y = onnx.node "MatMul"(%q, %3) {node_name = "y", result_names = ["y"]} : (tensor<?x5x3xf32>, tensor<?x3x2xf32>) -> tensor<?x5x2xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x5x2xf32>
  } {input_names = ["x"]}
}

// -----

// Beside a value with rows it stands as one of them, unless something in front is no batch.
// CHECK-LABEL: func.func @broadcast(
// CHECK: kernel.row_linear {{.*}}bank = 0 : i64
// CHECK: arith.addf
onnx.model @m attributes {ir_version = 9 : i64, opsets = ["", 20 : i64]} {
  adapter.site @p {columns = 4 : i64, forms = ["lora"], kind = #adapter.kind<linear>, module = "p", parameter = "weight", rows = 4 : i64, time = #adapter.time<row>, transposed}
  onnx.graph @broadcast (%x: tensor<?x3x4xf32, #onnx.dims<"n", "", "">>) {
    %c = adapter.parameter "base"::"c" : tensor<3x4xf32>
    %p = adapter.parameter "base"::"p" : tensor<4x4xf32>
    %up = adapter.select @p : !adapter.update<tensor<4x4xf32>>
    %vp = adapter.materialize %p, %up : tensor<4x4xf32>
    %0 = onnx.node "MatMul"(%c, %vp) {node_name = "p", result_names = ["0"]} : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
    %y = onnx.node "Add"(%x, %0) {node_name = "y", result_names = ["y"]} : (tensor<?x3x4xf32, #onnx.dims<"n", "", "">>, tensor<3x4xf32>) -> tensor<?x3x4xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x3x4xf32>
  } {input_names = ["x"]}
}

// -----

// A Gemm's own addend does not end it: the rows are still none of the graph's when positions are moved.
// CHECK-LABEL: func.func @gemm(
// CHECK: kernel.row_linear {{.*}}bank = 0 : i64
// CHECK: linalg.generic {{.*}} outs(%{{.*}} : tensor<?x4x3xf32>)
// CHECK: kernel.batch_matmul
onnx.model @m attributes {ir_version = 9 : i64, opsets = ["", 20 : i64]} {
  adapter.site @p {columns = 4 : i64, forms = ["lora"], kind = #adapter.kind<linear>, module = "p", parameter = "weight", rows = 4 : i64, time = #adapter.time<row>, transposed}
  onnx.graph @gemm (%x: tensor<?x5x4xf32, #onnx.dims<"n", "", "">>) {
    %c = adapter.parameter "base"::"c" : tensor<3x4xf32>
    %p = adapter.parameter "base"::"p" : tensor<4x4xf32>
    %b = adapter.parameter "base"::"b" : tensor<4xf32>
    %up = adapter.select @p : !adapter.update<tensor<4x4xf32>>
    %vp = adapter.materialize %p, %up : tensor<4x4xf32>
    %0 = onnx.node "Gemm"(%c, %vp, %b) {node_name = "p", result_names = ["0"]} : (tensor<3x4xf32>, tensor<4x4xf32>, tensor<4xf32>) -> tensor<3x4xf32>
    %1 = onnx.node "Transpose"(%0) {node_name = "t", result_names = ["1"]} : (tensor<3x4xf32>) -> tensor<4x3xf32>
    %y = onnx.node "MatMul"(%x, %1) {node_name = "y", result_names = ["y"]} : (tensor<?x5x4xf32, #onnx.dims<"n", "", "">>, tensor<4x3xf32>) -> tensor<?x5x3xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x5x3xf32>
  } {input_names = ["x"]}
}

// -----

// A repetition by something else than the batch is none of the rows.
onnx.model @m attributes {ir_version = 9 : i64, opsets = ["", 20 : i64]} {
  adapter.site @p {columns = 4 : i64, forms = ["lora"], kind = #adapter.kind<linear>, module = "p", parameter = "weight", rows = 4 : i64, time = #adapter.time<row>, transposed}
  onnx.graph @twice (%x: tensor<?x6x4xf32, #onnx.dims<"n", "", "">>) {
    %c = adapter.parameter "base"::"c" : tensor<3x4xf32>
    %p = adapter.parameter "base"::"p" : tensor<4x4xf32>
    %up = adapter.select @p : !adapter.update<tensor<4x4xf32>>
    %vp = adapter.materialize %p, %up : tensor<4x4xf32>
    %0 = onnx.node "MatMul"(%c, %vp) {node_name = "p", result_names = ["0"]} : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
    %often = adapter.parameter "base"::"often" = dense<[2, 1]> : tensor<2xi64>
    // expected-error @below {{Tile node 'tile': a value is one for all rows, and an adapter changes it by row; bind the adapter at build, switch or call}}
    %1 = onnx.node "Tile"(%0, %often) {node_name = "tile", result_names = ["1"]} : (tensor<3x4xf32>, tensor<2xi64>) -> tensor<6x4xf32>
    %y = onnx.node "Add"(%x, %1) {node_name = "y", result_names = ["y"]} : (tensor<?x6x4xf32, #onnx.dims<"n", "", "">>, tensor<6x4xf32>) -> tensor<?x6x4xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x6x4xf32>
  } {input_names = ["x"]}
}

// -----

// Sums over positions mix nothing of rows, but nobody has said how they are taken of each.
onnx.model @m attributes {ir_version = 9 : i64, opsets = ["", 20 : i64]} {
  adapter.site @p {columns = 4 : i64, forms = ["lora"], kind = #adapter.kind<linear>, module = "p", parameter = "weight", rows = 4 : i64, time = #adapter.time<row>, transposed}
  onnx.graph @summed (%x: tensor<?x4xf32, #onnx.dims<"n", "">>) {
    %c = adapter.parameter "base"::"c" : tensor<3x4xf32>
    %p = adapter.parameter "base"::"p" : tensor<4x4xf32>
    %up = adapter.select @p : !adapter.update<tensor<4x4xf32>>
    %vp = adapter.materialize %p, %up : tensor<4x4xf32>
    %0 = onnx.node "MatMul"(%c, %vp) {node_name = "p", result_names = ["0"]} : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
    // expected-error @below {{ReduceSum node 'sum': a value is one for all rows}}
    %1 = onnx.node "ReduceSum"(%0) {node_name = "sum", result_names = ["1"]} : (tensor<3x4xf32>) -> tensor<1x1xf32>
    %y = onnx.node "Add"(%x, %1) {node_name = "y", result_names = ["y"]} : (tensor<?x4xf32, #onnx.dims<"n", "">>, tensor<1x1xf32>) -> tensor<?x4xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x4xf32>
  } {input_names = ["x"]}
}
