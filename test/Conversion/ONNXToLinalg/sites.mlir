// RUN: adapter-opt %s --convert-onnx-to-linalg --split-input-file --verify-diagnostics | FileCheck %s

// Each adapter of a call or row has its entry in a bank. One of the call is a vector like any other.
// CHECK-LABEL: func.func @banks
// CHECK: %[[V:.*]] = kernel.row_vectors ins(%{{.*}} : tensor<3xf32>) outs(%{{.*}} : tensor<1x3xf32>) {bank = 1 : i64}
// CHECK: kernel.row_linear {{.*}}bank = 0 : i64
onnx.model @m attributes {ir_version = 9 : i64, opsets = ["", 20 : i64]} {
  adapter.site @w {columns = 4 : i64, forms = ["lora"], kind = #adapter.kind<linear>, module = "q", parameter = "weight", rows = 3 : i64, time = #adapter.time<row>, transposed}
  adapter.site @b {columns = 0 : i64, forms = ["add"], kind = #adapter.kind<vector>, module = "q", parameter = "bias", rows = 3 : i64, time = #adapter.time<call>}
  onnx.graph @banks (%x: tensor<?x4xf32>) {
    %w = adapter.parameter "base"::"w" : tensor<4x3xf32>
    %b = adapter.parameter "base"::"b" : tensor<3xf32>
    %uw = adapter.select @w : !adapter.update<tensor<4x3xf32>>
    %ub = adapter.select @b : !adapter.update<tensor<3xf32>>
    %vw = adapter.materialize %w, %uw : tensor<4x3xf32>
    %vb = adapter.materialize %b, %ub : tensor<3xf32>
    %0 = onnx.node "Gemm"(%x, %vw, %vb) {node_name = "gemm", result_names = ["0"]} : (tensor<?x4xf32>, tensor<4x3xf32>, tensor<3xf32>) -> tensor<?x3xf32>
    onnx.return {output_names = ["0"]} %0 : tensor<?x3xf32>
  } {input_names = ["x"]}
}

// -----

// Nothing of the call is in these products. The room by row that nobody asked for by name is left out, the
// banks behind it move up; what acts on the call as a whole stays.
// CHECK: module attributes {adapter.left_out = ["p.weight: its input does not depend on the rows of the call
// CHECK: func.func @spare
// CHECK: kernel.row_linear {{.*}}bank = 0 : i64
// CHECK-NOT: kernel.row_linear
// CHECK-NOT: adapter.site @p
// CHECK: adapter.site @q {bank = 0 : i64
onnx.model @m attributes {ir_version = 9 : i64, opsets = ["", 20 : i64]} {
  adapter.site @p {columns = 4 : i64, forms = ["lora"], kind = #adapter.kind<linear>, module = "p", parameter = "weight", rows = 3 : i64, time = #adapter.time<row>, transposed, slots = ["s"], spare}
  adapter.site @q {columns = 3 : i64, forms = ["lora"], kind = #adapter.kind<linear>, module = "q", parameter = "weight", rows = 3 : i64, time = #adapter.time<call>, transposed, slots = ["t"], spare}
  onnx.graph @spare (%x: tensor<?x3xf32>) {
    %c = adapter.parameter "base"::"c" : tensor<2x4xf32>
    %p = adapter.parameter "base"::"p" : tensor<4x3xf32>
    %q = adapter.parameter "base"::"q" : tensor<3x3xf32>
    %up = adapter.select @p : !adapter.update<tensor<4x3xf32>>
    %uq = adapter.select @q : !adapter.update<tensor<3x3xf32>>
    %vp = adapter.materialize %p, %up : tensor<4x3xf32>
    %vq = adapter.materialize %q, %uq : tensor<3x3xf32>
    %0 = onnx.node "MatMul"(%c, %vp) {node_name = "p", result_names = ["0"]} : (tensor<2x4xf32>, tensor<4x3xf32>) -> tensor<2x3xf32>
    %1 = onnx.node "MatMul"(%0, %vq) {node_name = "q", result_names = ["1"]} : (tensor<2x3xf32>, tensor<3x3xf32>) -> tensor<2x3xf32>
    onnx.return {output_names = ["1"]} %1 : tensor<2x3xf32>
  } {input_names = ["x"]}
}

// -----

// An adapter of the build cannot be left out, and a result without rows has no room for theirs.
onnx.model @m attributes {ir_version = 9 : i64, opsets = ["", 20 : i64]} {
  adapter.site @p {columns = 4 : i64, forms = ["lora"], kind = #adapter.kind<linear>, module = "p", parameter = "weight", rows = 3 : i64, time = #adapter.time<row>, transposed}
  onnx.graph @named (%x: tensor<?x3xf32>) {
    %c = adapter.parameter "base"::"c" : tensor<2x4xf32>
    %p = adapter.parameter "base"::"p" : tensor<4x3xf32>
    %up = adapter.select @p : !adapter.update<tensor<4x3xf32>>
    %vp = adapter.materialize %p, %up : tensor<4x3xf32>
    %0 = onnx.node "MatMul"(%c, %vp) {node_name = "p", result_names = ["0"]} : (tensor<2x4xf32>, tensor<4x3xf32>) -> tensor<2x3xf32>
    // expected-error @below {{a result of the graph is one for all rows, and an adapter changes it by row; bind the adapter at build, switch or call}}
    onnx.return {output_names = ["0"]} %0 : tensor<2x3xf32>
  } {input_names = ["x"]}
}
