// RUN: adapter-opt %s --convert-onnx-to-linalg --canonicalize --cse | FileCheck %s

// This process's tokens; each row once to each process; products back; sums to all. Experts 1 and 2 of 4 are the
// first process's: ids and weights go by that order.
// CHECK-LABEL: func.func @mixture
// CHECK-DAG: %[[PLACES:.*]] = arith.constant dense<[2, 0, 1, 3]> : tensor<4xi64>
// CHECK-DAG: %[[ORDER:.*]] = arith.constant dense<[1, 2, 0, 3]> : tensor<4xindex>
// CHECK: %[[ME:.*]] = kernel.process
// CHECK: tensor.extract %[[PLACES]]
// CHECK: %[[D:.*]]:3 = kernel.dispatch "experts"
// CHECK: %[[U:.*]]:4 = kernel.unique_rows ins(%[[D]]#1, %[[D]]#2
// CHECK: %[[C:.*]] = kernel.all_to_all ins(%{{.*}} : tensor<2x3xi64>)
// CHECK: %[[SEND:.*]] = kernel.gather_rows ins(%{{.*}}, %[[U]]#0
// CHECK: %[[CAME:.*]] = kernel.all_to_all_rows ins(%[[SEND]],
// CHECK: %[[INDEX:.*]] = kernel.all_to_all_rows ins(%[[U]]#1,
// CHECK: %[[A:.*]]:3 = kernel.arrange_rows %[[ME]] ins(%[[INDEX]], %[[C]]
// CHECK: %[[G:.*]] = kernel.gather_rows ins(%[[CAME]], %[[A]]#0
// CHECK: tensor.extract %[[ORDER]]
// CHECK: %[[P:.*]] = kernel.pack
// CHECK: kernel.grouped_linear ins(%[[G]], %[[P]], %[[A]]#2
// CHECK: %[[N:.*]] = kernel.grouped_linear
// CHECK: %[[BACK:.*]] = kernel.gather_rows ins(%[[N]], %[[A]]#1
// CHECK: %[[Y:.*]] = kernel.all_to_all_rows ins(%[[BACK]],
// CHECK: %[[S:.*]] = kernel.combine ins(%[[Y]], %[[D]]#0
// CHECK: kernel.all_gather_rows ins(%[[S]],
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @mixture (%x: tensor<?x4xf32, #onnx.dims<"t", "">>, %i: tensor<?x2xi64, #onnx.dims<"t", "">>, %w: tensor<?x2xf32, #onnx.dims<"t", "">>) {
    %up = adapter.parameter "base"::"up" : tensor<4x12x4xf32>
    %down = adapter.parameter "base"::"down" : tensor<4x4x6xf32>
    %y = adapter.experts silu %x, %i, %w, %up, %down ranks 2 placement [1, 0, 0, 1] {gated} : tensor<?x4xf32, #onnx.dims<"t", "">>, tensor<?x2xi64, #onnx.dims<"t", "">>, tensor<?x2xf32, #onnx.dims<"t", "">>, tensor<4x12x4xf32>, tensor<4x4x6xf32> -> tensor<?x4xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x4xf32>
  } {input_names = ["x", "i", "w"]}
}
