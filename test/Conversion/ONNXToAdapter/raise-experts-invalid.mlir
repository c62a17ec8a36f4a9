// RUN: adapter-opt %s --adapter-raise-experts --verify-diagnostics

// A router of the wrong width is no near miss: some of its choices do not exist.
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @wide (%x: tensor<?x4xf32, #onnx.dims<"t", "">>) {
    %r = adapter.parameter "base"::"router" : tensor<4x8xf32>
    %up = adapter.parameter "base"::"up" : tensor<6x12x4xf32>
    %down = adapter.parameter "base"::"down" : tensor<6x4x6xf32>
    %one = adapter.parameter "base"::"one" = dense<[1]> : tensor<1xi64>
    %last = adapter.parameter "base"::"last" = dense<[-1]> : tensor<1xi64>
    %k = adapter.parameter "base"::"k" = dense<[2]> : tensor<1xi64>
    %repeats = adapter.parameter "base"::"repeats" = dense<[1, 2, 1]> : tensor<3xi64>
    %rows = adapter.parameter "base"::"rows" = dense<[-1, 4]> : tensor<2xi64>
    %parts = adapter.parameter "base"::"parts" = dense<[-1, 2, 4]> : tensor<3xi64>
    %l = onnx.node "MatMul"(%x, %r) {result_names = ["l"]} : (tensor<?x4xf32, #onnx.dims<"t", "">>, tensor<4x8xf32>) -> tensor<?x8xf32>
    %p = onnx.node "Softmax"(%l) {node_attributes = {axis = -1 : i64}, result_names = ["p"]} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    %s:2 = onnx.node "TopK"(%p, %k) {node_attributes = {axis = -1 : i64}, result_names = ["s", "i"]} : (tensor<?x8xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
    %sum = onnx.node "ReduceSum"(%s#0, %last) {node_attributes = {keepdims = 1 : i64}, result_names = ["sum"]} : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?x1xf32>
    %w = onnx.node "Div"(%s#0, %sum) {result_names = ["w"]} : (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
    %x3 = onnx.node "Unsqueeze"(%x, %one) {result_names = ["x3"]} : (tensor<?x4xf32, #onnx.dims<"t", "">>, tensor<1xi64>) -> tensor<?x1x4xf32>
    %xe = onnx.node "Expand"(%x3, %repeats) {result_names = ["xe"]} : (tensor<?x1x4xf32>, tensor<3xi64>) -> tensor<?x2x4xf32>
    %xs = onnx.node "Reshape"(%xe, %rows) {result_names = ["xs"]} : (tensor<?x2x4xf32>, tensor<2xi64>) -> tensor<?x4xf32>
    %e = onnx.node "Reshape"(%s#1, %last) {result_names = ["e"]} : (tensor<?x2xi64>, tensor<1xi64>) -> tensor<?xi64>
    %g_i = onnx.node "Unsqueeze"(%e, %last) {result_names = ["g_i"]} : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
    %g = onnx.node "GatherND"(%up, %g_i) {result_names = ["g"]} : (tensor<6x12x4xf32>, tensor<?x1xi64>) -> tensor<?x12x4xf32>
    %h_c = onnx.node "Unsqueeze"(%xs, %last) {result_names = ["h_c"]} : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x4x1xf32>
    %h_m = onnx.node "MatMul"(%g, %h_c) {result_names = ["h_m"]} : (tensor<?x12x4xf32>, tensor<?x4x1xf32>) -> tensor<?x12x1xf32>
    %h = onnx.node "Squeeze"(%h_m, %last) {result_names = ["h"]} : (tensor<?x12x1xf32>, tensor<1xi64>) -> tensor<?x12xf32>
    %b:2 = onnx.node "Split"(%h) {node_attributes = {axis = 1 : i64, num_outputs = 2 : i64}, result_names = ["b", "b2"]} : (tensor<?x12xf32>) -> (tensor<?x6xf32>, tensor<?x6xf32>)
    %sg = onnx.node "Sigmoid"(%b#0) {result_names = ["sg"]} : (tensor<?x6xf32>) -> tensor<?x6xf32>
    %a = onnx.node "Mul"(%b#0, %sg) {result_names = ["a"]} : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
    %m = onnx.node "Mul"(%a, %b#1) {result_names = ["m"]} : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
    %d_i = onnx.node "Unsqueeze"(%e, %last) {result_names = ["d_i"]} : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
    %d = onnx.node "GatherND"(%down, %d_i) {result_names = ["d"]} : (tensor<6x4x6xf32>, tensor<?x1xi64>) -> tensor<?x4x6xf32>
    %q_c = onnx.node "Unsqueeze"(%m, %last) {result_names = ["q_c"]} : (tensor<?x6xf32>, tensor<1xi64>) -> tensor<?x6x1xf32>
    %q_m = onnx.node "MatMul"(%d, %q_c) {result_names = ["q_m"]} : (tensor<?x4x6xf32>, tensor<?x6x1xf32>) -> tensor<?x4x1xf32>
    %q = onnx.node "Squeeze"(%q_m, %last) {result_names = ["q"]} : (tensor<?x4x1xf32>, tensor<1xi64>) -> tensor<?x4xf32>
    %wf = onnx.node "Reshape"(%w, %last) {result_names = ["wf"]} : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?xf32>
    %wc = onnx.node "Unsqueeze"(%wf, %last) {result_names = ["wc"]} : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
    %qw = onnx.node "Mul"(%q, %wc) {result_names = ["qw"]} : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
    %z = onnx.node "Reshape"(%qw, %parts) {result_names = ["z"]} : (tensor<?x4xf32>, tensor<3xi64>) -> tensor<?x2x4xf32>
    // expected-error @below {{'adapter.experts' op has 6 experts for a router over 8}}
    %y = onnx.node "ReduceSum"(%z, %one) {node_attributes = {keepdims = 0 : i64}, result_names = ["y"]} : (tensor<?x2x4xf32>, tensor<1xi64>) -> tensor<?x4xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x4xf32>
  } {input_names = ["x"]}
}
