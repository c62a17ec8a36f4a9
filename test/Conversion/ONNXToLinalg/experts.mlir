// RUN: adapter-opt %s --split-input-file --convert-onnx-to-linalg --canonicalize --cse | FileCheck %s

// Scores, the best of them, their sum; then the tokens of each expert together.
// CHECK-LABEL: func.func @mixture
// CHECK: math.exp
// CHECK: %[[TOP:.*]]:2 = kernel.top_k ins(%{{.*}} : tensor<?x8xf32>)
// CHECK: %[[W:.*]] = linalg.generic
// CHECK: arith.divf
// CHECK: %[[D:.*]]:3 = kernel.dispatch "experts" ins(%[[TOP]]#1 : tensor<?x2xi64>)
// CHECK: %[[G:.*]] = kernel.gather_rows ins(%{{.*}}, %[[D]]#1 : tensor<?x4xf32>, tensor<?xi64>)
// CHECK: %[[UP:.*]] = kernel.pack ins(%{{.*}} : tensor<8x12x4xf32>) outs(%{{.*}} : tensor<8x1x4x32xf32>) {transposed}
// CHECK: kernel.grouped_linear ins(%[[G]], %[[UP]], %[[D]]#2 : tensor<?x4xf32>, tensor<8x1x4x32xf32>, tensor<9xi64>)
// CHECK: math.exp
// CHECK: kernel.pack
// CHECK: %[[Y:.*]] = kernel.grouped_linear
// CHECK: kernel.combine ins(%[[Y]], %[[D]]#0, %{{.*}} : tensor<?x4xf32>, tensor<?x2xi64>, tensor<?x2xf32>)
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @mixture (%x: tensor<?x4xf32, #onnx.dims<"t", "">>, %l: tensor<?x8xf32, #onnx.dims<"t", "">>) {
    %up = adapter.parameter "base"::"up" : tensor<8x12x4xf32>
    %down = adapter.parameter "base"::"down" : tensor<8x4x6xf32>
    %w, %i = adapter.route softmax score_first top 2 normalise after scope token %l : tensor<?x8xf32, #onnx.dims<"t", "">> -> tensor<?x2xf32>, tensor<?x2xi64>
    %y = adapter.experts silu %x, %i, %w, %up, %down {gated} : tensor<?x4xf32, #onnx.dims<"t", "">>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<8x12x4xf32>, tensor<8x4x6xf32> -> tensor<?x4xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x4xf32>
  } {input_names = ["x", "l"]}
}

// -----

// The score of what was chosen; experts stored the other way, without a gate.
// CHECK-LABEL: func.func @select_first
// CHECK-NOT: math.exp
// CHECK: kernel.top_k
// CHECK: math.exp
// CHECK: kernel.pack ins(%{{.*}} : tensor<8x4x6xf32>) outs(%{{.*}} : tensor<8x1x4x32xf32>) ->
// CHECK: arith.maximumf
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @select_first (%x: tensor<?x4xf32, #onnx.dims<"t", "">>, %l: tensor<?x8xf32, #onnx.dims<"t", "">>) {
    %up = adapter.parameter "base"::"up" : tensor<8x4x6xf32>
    %down = adapter.parameter "base"::"down" : tensor<8x6x4xf32>
    %w, %i = adapter.route softmax select_first top 2 normalise none scope token %l : tensor<?x8xf32, #onnx.dims<"t", "">> -> tensor<?x2xf32>, tensor<?x2xi64>
    %y = adapter.experts relu %x, %i, %w, %up, %down {transposed} : tensor<?x4xf32, #onnx.dims<"t", "">>, tensor<?x2xi64>, tensor<?x2xf32>, tensor<8x4x6xf32>, tensor<8x6x4xf32> -> tensor<?x4xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x4xf32>
  } {input_names = ["x", "l"]}
}

// -----

// TopK along another dimension than the last, of a size that is known at the call.
// CHECK-LABEL: func.func @top_k
// CHECK: kernel.require %{{.*}}, "TopK node 'i': chooses 2 elements of {0}"(%{{.*}})
// CHECK: kernel.top_k ins(%{{.*}} : tensor<3x?xf32>) outs(%{{.*}}, %{{.*}} : tensor<3x2xf32>, tensor<3x2xi64>) {smallest}
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @top_k (%x: tensor<?x3xf32, #onnx.dims<"t", "">>) {
    %k = adapter.parameter "base"::"k" = dense<2> : tensor<1xi64>
    %i:2 = onnx.node "TopK"(%x, %k) {node_attributes = {axis = 0 : i64, largest = 0 : i64}, node_name = "i", result_names = ["v", "p"]} : (tensor<?x3xf32, #onnx.dims<"t", "">>, tensor<1xi64>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
    onnx.return {output_names = ["v", "p"]} %i#0, %i#1 : tensor<2x3xf32>, tensor<2x3xi64>
  } {input_names = ["x"]}
}
