// REQUIRES: onnx
// RUN: %make-adapter %s %t.tokens
// RUN: adapter-opt %s --adapter x=%t.tokens | FileCheck %s
// ADAPTER
// {"tensors": {"shared.token_adapter.trainable_tokens_delta": [1, 2]},
//  "config": {"target_modules": [], "trainable_token_indices": {"shared": [1]}}}
// END

// Trained tokens of a table that is called otherwise than the module that reads it; a table of another name gets none.
// CHECK-LABEL: onnx.model @m
onnx.model @m attributes {ir_version = 9 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @main (%i: tensor<?xi64>) {
    // CHECK-DAG: %[[T:.*]] = adapter.parameter "base"::"model.shared.weight"
    // CHECK-DAG: %[[B:.*]] = adapter.parameter "base"::"model.bias.weight"
    // CHECK-DAG: %[[TX:.*]] = adapter.materialize %[[T]]
    %t = adapter.parameter "base"::"model.shared.weight" : tensor<3x2xf32>
    %b = adapter.parameter "base"::"model.bias.weight" : tensor<3x2xf32>
    // CHECK: "Gather"(%[[TX]]
    // CHECK: "Gather"(%[[B]]
    %0 = onnx.node "Gather"(%t, %i) {node_name = "/model/encoder/embed_tokens/Gather", result_names = ["0"]} : (tensor<3x2xf32>, tensor<?xi64>) -> tensor<?x2xf32>
    %1 = onnx.node "Gather"(%b, %i) {node_name = "/model/encoder/bias/Gather", result_names = ["1"]} : (tensor<3x2xf32>, tensor<?xi64>) -> tensor<?x2xf32>
    onnx.return {output_names = ["0", "1"]} %0, %1 : tensor<?x2xf32>, tensor<?x2xf32>
  } {input_names = ["i"]}
}
