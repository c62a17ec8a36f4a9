// RUN: adapter-opt %s --split-input-file --adapter-raise-experts | FileCheck %s

// Graphs that differ from raise-experts.mlir in one point, which makes them something else.
// Weights that are no parameters.
// CHECK-LABEL: onnx.graph @given
// CHECK-NOT: adapter.experts
// CHECK: onnx.return
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @given (%x: tensor<?x4xf32, #onnx.dims<"t", "">>, %given: tensor<8x12x4xf32>) {
    %r = adapter.parameter "base"::"router" : tensor<4x8xf32>
    %down = adapter.parameter "base"::"down" : tensor<8x4x6xf32>
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
    %g = onnx.node "GatherND"(%given, %g_i) {result_names = ["g"]} : (tensor<8x12x4xf32>, tensor<?x1xi64>) -> tensor<?x12x4xf32>
    %h_c = onnx.node "Unsqueeze"(%xs, %last) {result_names = ["h_c"]} : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x4x1xf32>
    %h_m = onnx.node "MatMul"(%g, %h_c) {result_names = ["h_m"]} : (tensor<?x12x4xf32>, tensor<?x4x1xf32>) -> tensor<?x12x1xf32>
    %h = onnx.node "Squeeze"(%h_m, %last) {result_names = ["h"]} : (tensor<?x12x1xf32>, tensor<1xi64>) -> tensor<?x12xf32>
    %b:2 = onnx.node "Split"(%h) {node_attributes = {axis = 1 : i64, num_outputs = 2 : i64}, result_names = ["b", "b2"]} : (tensor<?x12xf32>) -> (tensor<?x6xf32>, tensor<?x6xf32>)
    %sg = onnx.node "Sigmoid"(%b#0) {result_names = ["sg"]} : (tensor<?x6xf32>) -> tensor<?x6xf32>
    %a = onnx.node "Mul"(%b#0, %sg) {result_names = ["a"]} : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
    %m = onnx.node "Mul"(%a, %b#1) {result_names = ["m"]} : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
    %d_i = onnx.node "Unsqueeze"(%e, %last) {result_names = ["d_i"]} : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
    %d = onnx.node "GatherND"(%down, %d_i) {result_names = ["d"]} : (tensor<8x4x6xf32>, tensor<?x1xi64>) -> tensor<?x4x6xf32>
    %q_c = onnx.node "Unsqueeze"(%m, %last) {result_names = ["q_c"]} : (tensor<?x6xf32>, tensor<1xi64>) -> tensor<?x6x1xf32>
    %q_m = onnx.node "MatMul"(%d, %q_c) {result_names = ["q_m"]} : (tensor<?x4x6xf32>, tensor<?x6x1xf32>) -> tensor<?x4x1xf32>
    %q = onnx.node "Squeeze"(%q_m, %last) {result_names = ["q"]} : (tensor<?x4x1xf32>, tensor<1xi64>) -> tensor<?x4xf32>
    %wf = onnx.node "Reshape"(%w, %last) {result_names = ["wf"]} : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?xf32>
    %wc = onnx.node "Unsqueeze"(%wf, %last) {result_names = ["wc"]} : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
    %qw = onnx.node "Mul"(%q, %wc) {result_names = ["qw"]} : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
    %z = onnx.node "Reshape"(%qw, %parts) {result_names = ["z"]} : (tensor<?x4xf32>, tensor<3xi64>) -> tensor<?x2x4xf32>
    %y = onnx.node "ReduceSum"(%z, %one) {node_attributes = {keepdims = 0 : i64}, result_names = ["y"]} : (tensor<?x2x4xf32>, tensor<1xi64>) -> tensor<?x4xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x4xf32>
  } {input_names = ["x", "given"]}
}

// -----

// The two products take other experts.
// CHECK-LABEL: onnx.graph @other_ids
// CHECK-NOT: adapter.experts
// CHECK: onnx.return
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @other_ids (%x: tensor<?x4xf32, #onnx.dims<"t", "">>) {
    %r = adapter.parameter "base"::"router" : tensor<4x8xf32>
    %up = adapter.parameter "base"::"up" : tensor<8x12x4xf32>
    %down = adapter.parameter "base"::"down" : tensor<8x4x6xf32>
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
    %g = onnx.node "GatherND"(%up, %g_i) {result_names = ["g"]} : (tensor<8x12x4xf32>, tensor<?x1xi64>) -> tensor<?x12x4xf32>
    %h_c = onnx.node "Unsqueeze"(%xs, %last) {result_names = ["h_c"]} : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x4x1xf32>
    %h_m = onnx.node "MatMul"(%g, %h_c) {result_names = ["h_m"]} : (tensor<?x12x4xf32>, tensor<?x4x1xf32>) -> tensor<?x12x1xf32>
    %h = onnx.node "Squeeze"(%h_m, %last) {result_names = ["h"]} : (tensor<?x12x1xf32>, tensor<1xi64>) -> tensor<?x12xf32>
    %b:2 = onnx.node "Split"(%h) {node_attributes = {axis = 1 : i64, num_outputs = 2 : i64}, result_names = ["b", "b2"]} : (tensor<?x12xf32>) -> (tensor<?x6xf32>, tensor<?x6xf32>)
    %sg = onnx.node "Sigmoid"(%b#0) {result_names = ["sg"]} : (tensor<?x6xf32>) -> tensor<?x6xf32>
    %a = onnx.node "Mul"(%b#0, %sg) {result_names = ["a"]} : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
    %m = onnx.node "Mul"(%a, %b#1) {result_names = ["m"]} : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
    %e2 = onnx.node "Abs"(%e) {result_names = ["e2"]} : (tensor<?xi64>) -> tensor<?xi64>
    %d_i = onnx.node "Unsqueeze"(%e2, %last) {result_names = ["d_i"]} : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
    %d = onnx.node "GatherND"(%down, %d_i) {result_names = ["d"]} : (tensor<8x4x6xf32>, tensor<?x1xi64>) -> tensor<?x4x6xf32>
    %q_c = onnx.node "Unsqueeze"(%m, %last) {result_names = ["q_c"]} : (tensor<?x6xf32>, tensor<1xi64>) -> tensor<?x6x1xf32>
    %q_m = onnx.node "MatMul"(%d, %q_c) {result_names = ["q_m"]} : (tensor<?x4x6xf32>, tensor<?x6x1xf32>) -> tensor<?x4x1xf32>
    %q = onnx.node "Squeeze"(%q_m, %last) {result_names = ["q"]} : (tensor<?x4x1xf32>, tensor<1xi64>) -> tensor<?x4xf32>
    %wf = onnx.node "Reshape"(%w, %last) {result_names = ["wf"]} : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?xf32>
    %wc = onnx.node "Unsqueeze"(%wf, %last) {result_names = ["wc"]} : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
    %qw = onnx.node "Mul"(%q, %wc) {result_names = ["qw"]} : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
    %z = onnx.node "Reshape"(%qw, %parts) {result_names = ["z"]} : (tensor<?x4xf32>, tensor<3xi64>) -> tensor<?x2x4xf32>
    %y = onnx.node "ReduceSum"(%z, %one) {node_attributes = {keepdims = 0 : i64}, result_names = ["y"]} : (tensor<?x2x4xf32>, tensor<1xi64>) -> tensor<?x4xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x4xf32>
  } {input_names = ["x"]}
}

// -----

// The second half is the gate.
// CHECK-LABEL: onnx.graph @halves
// CHECK-NOT: adapter.experts
// CHECK: onnx.return
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @halves (%x: tensor<?x4xf32, #onnx.dims<"t", "">>) {
    %r = adapter.parameter "base"::"router" : tensor<4x8xf32>
    %up = adapter.parameter "base"::"up" : tensor<8x12x4xf32>
    %down = adapter.parameter "base"::"down" : tensor<8x4x6xf32>
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
    %g = onnx.node "GatherND"(%up, %g_i) {result_names = ["g"]} : (tensor<8x12x4xf32>, tensor<?x1xi64>) -> tensor<?x12x4xf32>
    %h_c = onnx.node "Unsqueeze"(%xs, %last) {result_names = ["h_c"]} : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x4x1xf32>
    %h_m = onnx.node "MatMul"(%g, %h_c) {result_names = ["h_m"]} : (tensor<?x12x4xf32>, tensor<?x4x1xf32>) -> tensor<?x12x1xf32>
    %h = onnx.node "Squeeze"(%h_m, %last) {result_names = ["h"]} : (tensor<?x12x1xf32>, tensor<1xi64>) -> tensor<?x12xf32>
    %b:2 = onnx.node "Split"(%h) {node_attributes = {axis = 1 : i64, num_outputs = 2 : i64}, result_names = ["b", "b2"]} : (tensor<?x12xf32>) -> (tensor<?x6xf32>, tensor<?x6xf32>)
    %sg = onnx.node "Sigmoid"(%b#1) {result_names = ["sg"]} : (tensor<?x6xf32>) -> tensor<?x6xf32>
    %a = onnx.node "Mul"(%b#1, %sg) {result_names = ["a"]} : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
    %m = onnx.node "Mul"(%a, %b#0) {result_names = ["m"]} : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
    %d_i = onnx.node "Unsqueeze"(%e, %last) {result_names = ["d_i"]} : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
    %d = onnx.node "GatherND"(%down, %d_i) {result_names = ["d"]} : (tensor<8x4x6xf32>, tensor<?x1xi64>) -> tensor<?x4x6xf32>
    %q_c = onnx.node "Unsqueeze"(%m, %last) {result_names = ["q_c"]} : (tensor<?x6xf32>, tensor<1xi64>) -> tensor<?x6x1xf32>
    %q_m = onnx.node "MatMul"(%d, %q_c) {result_names = ["q_m"]} : (tensor<?x4x6xf32>, tensor<?x6x1xf32>) -> tensor<?x4x1xf32>
    %q = onnx.node "Squeeze"(%q_m, %last) {result_names = ["q"]} : (tensor<?x4x1xf32>, tensor<1xi64>) -> tensor<?x4xf32>
    %wf = onnx.node "Reshape"(%w, %last) {result_names = ["wf"]} : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?xf32>
    %wc = onnx.node "Unsqueeze"(%wf, %last) {result_names = ["wc"]} : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
    %qw = onnx.node "Mul"(%q, %wc) {result_names = ["qw"]} : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
    %z = onnx.node "Reshape"(%qw, %parts) {result_names = ["z"]} : (tensor<?x4xf32>, tensor<3xi64>) -> tensor<?x2x4xf32>
    %y = onnx.node "ReduceSum"(%z, %one) {node_attributes = {keepdims = 0 : i64}, result_names = ["y"]} : (tensor<?x2x4xf32>, tensor<1xi64>) -> tensor<?x4xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x4xf32>
  } {input_names = ["x"]}
}

// -----

// An activation that experts do not have.
// CHECK-LABEL: onnx.graph @tanh
// CHECK-NOT: adapter.experts
// CHECK: onnx.return
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @tanh (%x: tensor<?x4xf32, #onnx.dims<"t", "">>) {
    %r = adapter.parameter "base"::"router" : tensor<4x8xf32>
    %up = adapter.parameter "base"::"up" : tensor<8x12x4xf32>
    %down = adapter.parameter "base"::"down" : tensor<8x4x6xf32>
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
    %g = onnx.node "GatherND"(%up, %g_i) {result_names = ["g"]} : (tensor<8x12x4xf32>, tensor<?x1xi64>) -> tensor<?x12x4xf32>
    %h_c = onnx.node "Unsqueeze"(%xs, %last) {result_names = ["h_c"]} : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x4x1xf32>
    %h_m = onnx.node "MatMul"(%g, %h_c) {result_names = ["h_m"]} : (tensor<?x12x4xf32>, tensor<?x4x1xf32>) -> tensor<?x12x1xf32>
    %h = onnx.node "Squeeze"(%h_m, %last) {result_names = ["h"]} : (tensor<?x12x1xf32>, tensor<1xi64>) -> tensor<?x12xf32>
    %b:2 = onnx.node "Split"(%h) {node_attributes = {axis = 1 : i64, num_outputs = 2 : i64}, result_names = ["b", "b2"]} : (tensor<?x12xf32>) -> (tensor<?x6xf32>, tensor<?x6xf32>)
    %a = onnx.node "Tanh"(%b#0) {result_names = ["a"]} : (tensor<?x6xf32>) -> tensor<?x6xf32>
    %m = onnx.node "Mul"(%a, %b#1) {result_names = ["m"]} : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
    %d_i = onnx.node "Unsqueeze"(%e, %last) {result_names = ["d_i"]} : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
    %d = onnx.node "GatherND"(%down, %d_i) {result_names = ["d"]} : (tensor<8x4x6xf32>, tensor<?x1xi64>) -> tensor<?x4x6xf32>
    %q_c = onnx.node "Unsqueeze"(%m, %last) {result_names = ["q_c"]} : (tensor<?x6xf32>, tensor<1xi64>) -> tensor<?x6x1xf32>
    %q_m = onnx.node "MatMul"(%d, %q_c) {result_names = ["q_m"]} : (tensor<?x4x6xf32>, tensor<?x6x1xf32>) -> tensor<?x4x1xf32>
    %q = onnx.node "Squeeze"(%q_m, %last) {result_names = ["q"]} : (tensor<?x4x1xf32>, tensor<1xi64>) -> tensor<?x4xf32>
    %wf = onnx.node "Reshape"(%w, %last) {result_names = ["wf"]} : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?xf32>
    %wc = onnx.node "Unsqueeze"(%wf, %last) {result_names = ["wc"]} : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
    %qw = onnx.node "Mul"(%q, %wc) {result_names = ["qw"]} : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
    %z = onnx.node "Reshape"(%qw, %parts) {result_names = ["z"]} : (tensor<?x4xf32>, tensor<3xi64>) -> tensor<?x2x4xf32>
    %y = onnx.node "ReduceSum"(%z, %one) {node_attributes = {keepdims = 0 : i64}, result_names = ["y"]} : (tensor<?x2x4xf32>, tensor<1xi64>) -> tensor<?x4xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x4xf32>
  } {input_names = ["x"]}
}

// -----

// The sum is over another number of rows than a token has experts.
// CHECK-LABEL: onnx.graph @count
// CHECK-NOT: adapter.experts
// CHECK: onnx.return
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @count (%x: tensor<?x4xf32, #onnx.dims<"t", "">>) {
    %r = adapter.parameter "base"::"router" : tensor<4x8xf32>
    %up = adapter.parameter "base"::"up" : tensor<8x12x4xf32>
    %down = adapter.parameter "base"::"down" : tensor<8x4x6xf32>
    %one = adapter.parameter "base"::"one" = dense<[1]> : tensor<1xi64>
    %last = adapter.parameter "base"::"last" = dense<[-1]> : tensor<1xi64>
    %k = adapter.parameter "base"::"k" = dense<[2]> : tensor<1xi64>
    %repeats = adapter.parameter "base"::"repeats" = dense<[1, 2, 1]> : tensor<3xi64>
    %rows = adapter.parameter "base"::"rows" = dense<[-1, 4]> : tensor<2xi64>
    %parts = adapter.parameter "base"::"parts" = dense<[-1, 1, 4]> : tensor<3xi64>
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
    %g = onnx.node "GatherND"(%up, %g_i) {result_names = ["g"]} : (tensor<8x12x4xf32>, tensor<?x1xi64>) -> tensor<?x12x4xf32>
    %h_c = onnx.node "Unsqueeze"(%xs, %last) {result_names = ["h_c"]} : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x4x1xf32>
    %h_m = onnx.node "MatMul"(%g, %h_c) {result_names = ["h_m"]} : (tensor<?x12x4xf32>, tensor<?x4x1xf32>) -> tensor<?x12x1xf32>
    %h = onnx.node "Squeeze"(%h_m, %last) {result_names = ["h"]} : (tensor<?x12x1xf32>, tensor<1xi64>) -> tensor<?x12xf32>
    %b:2 = onnx.node "Split"(%h) {node_attributes = {axis = 1 : i64, num_outputs = 2 : i64}, result_names = ["b", "b2"]} : (tensor<?x12xf32>) -> (tensor<?x6xf32>, tensor<?x6xf32>)
    %sg = onnx.node "Sigmoid"(%b#0) {result_names = ["sg"]} : (tensor<?x6xf32>) -> tensor<?x6xf32>
    %a = onnx.node "Mul"(%b#0, %sg) {result_names = ["a"]} : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
    %m = onnx.node "Mul"(%a, %b#1) {result_names = ["m"]} : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
    %d_i = onnx.node "Unsqueeze"(%e, %last) {result_names = ["d_i"]} : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
    %d = onnx.node "GatherND"(%down, %d_i) {result_names = ["d"]} : (tensor<8x4x6xf32>, tensor<?x1xi64>) -> tensor<?x4x6xf32>
    %q_c = onnx.node "Unsqueeze"(%m, %last) {result_names = ["q_c"]} : (tensor<?x6xf32>, tensor<1xi64>) -> tensor<?x6x1xf32>
    %q_m = onnx.node "MatMul"(%d, %q_c) {result_names = ["q_m"]} : (tensor<?x4x6xf32>, tensor<?x6x1xf32>) -> tensor<?x4x1xf32>
    %q = onnx.node "Squeeze"(%q_m, %last) {result_names = ["q"]} : (tensor<?x4x1xf32>, tensor<1xi64>) -> tensor<?x4xf32>
    %wf = onnx.node "Reshape"(%w, %last) {result_names = ["wf"]} : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?xf32>
    %wc = onnx.node "Unsqueeze"(%wf, %last) {result_names = ["wc"]} : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
    %qw = onnx.node "Mul"(%q, %wc) {result_names = ["qw"]} : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
    %z = onnx.node "Reshape"(%qw, %parts) {result_names = ["z"]} : (tensor<?x4xf32>, tensor<3xi64>) -> tensor<?x1x4xf32>
    %y = onnx.node "ReduceSum"(%z, %one) {node_attributes = {keepdims = 0 : i64}, result_names = ["y"]} : (tensor<?x1x4xf32>, tensor<1xi64>) -> tensor<?x4xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x4xf32>
  } {input_names = ["x"]}
}

// -----

// Tokens are repeated another number of times.
// CHECK-LABEL: onnx.graph @repeats
// CHECK-NOT: adapter.experts
// CHECK: onnx.return
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @repeats (%x: tensor<?x4xf32, #onnx.dims<"t", "">>) {
    %r = adapter.parameter "base"::"router" : tensor<4x8xf32>
    %up = adapter.parameter "base"::"up" : tensor<8x12x4xf32>
    %down = adapter.parameter "base"::"down" : tensor<8x4x6xf32>
    %one = adapter.parameter "base"::"one" = dense<[1]> : tensor<1xi64>
    %last = adapter.parameter "base"::"last" = dense<[-1]> : tensor<1xi64>
    %k = adapter.parameter "base"::"k" = dense<[2]> : tensor<1xi64>
    %repeats = adapter.parameter "base"::"repeats" = dense<[1, 1, 1]> : tensor<3xi64>
    %rows = adapter.parameter "base"::"rows" = dense<[-1, 4]> : tensor<2xi64>
    %parts = adapter.parameter "base"::"parts" = dense<[-1, 2, 4]> : tensor<3xi64>
    %l = onnx.node "MatMul"(%x, %r) {result_names = ["l"]} : (tensor<?x4xf32, #onnx.dims<"t", "">>, tensor<4x8xf32>) -> tensor<?x8xf32>
    %p = onnx.node "Softmax"(%l) {node_attributes = {axis = -1 : i64}, result_names = ["p"]} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    %s:2 = onnx.node "TopK"(%p, %k) {node_attributes = {axis = -1 : i64}, result_names = ["s", "i"]} : (tensor<?x8xf32>, tensor<1xi64>) -> (tensor<?x2xf32>, tensor<?x2xi64>)
    %sum = onnx.node "ReduceSum"(%s#0, %last) {node_attributes = {keepdims = 1 : i64}, result_names = ["sum"]} : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?x1xf32>
    %w = onnx.node "Div"(%s#0, %sum) {result_names = ["w"]} : (tensor<?x2xf32>, tensor<?x1xf32>) -> tensor<?x2xf32>
    %x3 = onnx.node "Unsqueeze"(%x, %one) {result_names = ["x3"]} : (tensor<?x4xf32, #onnx.dims<"t", "">>, tensor<1xi64>) -> tensor<?x1x4xf32>
    %xe = onnx.node "Expand"(%x3, %repeats) {result_names = ["xe"]} : (tensor<?x1x4xf32>, tensor<3xi64>) -> tensor<?x1x4xf32>
    %xs = onnx.node "Reshape"(%xe, %rows) {result_names = ["xs"]} : (tensor<?x1x4xf32>, tensor<2xi64>) -> tensor<?x4xf32>
    %e = onnx.node "Reshape"(%s#1, %last) {result_names = ["e"]} : (tensor<?x2xi64>, tensor<1xi64>) -> tensor<?xi64>
    %g_i = onnx.node "Unsqueeze"(%e, %last) {result_names = ["g_i"]} : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
    %g = onnx.node "GatherND"(%up, %g_i) {result_names = ["g"]} : (tensor<8x12x4xf32>, tensor<?x1xi64>) -> tensor<?x12x4xf32>
    %h_c = onnx.node "Unsqueeze"(%xs, %last) {result_names = ["h_c"]} : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x4x1xf32>
    %h_m = onnx.node "MatMul"(%g, %h_c) {result_names = ["h_m"]} : (tensor<?x12x4xf32>, tensor<?x4x1xf32>) -> tensor<?x12x1xf32>
    %h = onnx.node "Squeeze"(%h_m, %last) {result_names = ["h"]} : (tensor<?x12x1xf32>, tensor<1xi64>) -> tensor<?x12xf32>
    %b:2 = onnx.node "Split"(%h) {node_attributes = {axis = 1 : i64, num_outputs = 2 : i64}, result_names = ["b", "b2"]} : (tensor<?x12xf32>) -> (tensor<?x6xf32>, tensor<?x6xf32>)
    %sg = onnx.node "Sigmoid"(%b#0) {result_names = ["sg"]} : (tensor<?x6xf32>) -> tensor<?x6xf32>
    %a = onnx.node "Mul"(%b#0, %sg) {result_names = ["a"]} : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
    %m = onnx.node "Mul"(%a, %b#1) {result_names = ["m"]} : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
    %d_i = onnx.node "Unsqueeze"(%e, %last) {result_names = ["d_i"]} : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
    %d = onnx.node "GatherND"(%down, %d_i) {result_names = ["d"]} : (tensor<8x4x6xf32>, tensor<?x1xi64>) -> tensor<?x4x6xf32>
    %q_c = onnx.node "Unsqueeze"(%m, %last) {result_names = ["q_c"]} : (tensor<?x6xf32>, tensor<1xi64>) -> tensor<?x6x1xf32>
    %q_m = onnx.node "MatMul"(%d, %q_c) {result_names = ["q_m"]} : (tensor<?x4x6xf32>, tensor<?x6x1xf32>) -> tensor<?x4x1xf32>
    %q = onnx.node "Squeeze"(%q_m, %last) {result_names = ["q"]} : (tensor<?x4x1xf32>, tensor<1xi64>) -> tensor<?x4xf32>
    %wf = onnx.node "Reshape"(%w, %last) {result_names = ["wf"]} : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?xf32>
    %wc = onnx.node "Unsqueeze"(%wf, %last) {result_names = ["wc"]} : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
    %qw = onnx.node "Mul"(%q, %wc) {result_names = ["qw"]} : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
    %z = onnx.node "Reshape"(%qw, %parts) {result_names = ["z"]} : (tensor<?x4xf32>, tensor<3xi64>) -> tensor<?x2x4xf32>
    %y = onnx.node "ReduceSum"(%z, %one) {node_attributes = {keepdims = 0 : i64}, result_names = ["y"]} : (tensor<?x2x4xf32>, tensor<1xi64>) -> tensor<?x4xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x4xf32>
  } {input_names = ["x"]}
}

// -----

// The sum keeps its dimension.
// CHECK-LABEL: onnx.graph @kept
// CHECK-NOT: adapter.experts
// CHECK: onnx.return
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @kept (%x: tensor<?x4xf32, #onnx.dims<"t", "">>) {
    %r = adapter.parameter "base"::"router" : tensor<4x8xf32>
    %up = adapter.parameter "base"::"up" : tensor<8x12x4xf32>
    %down = adapter.parameter "base"::"down" : tensor<8x4x6xf32>
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
    %g = onnx.node "GatherND"(%up, %g_i) {result_names = ["g"]} : (tensor<8x12x4xf32>, tensor<?x1xi64>) -> tensor<?x12x4xf32>
    %h_c = onnx.node "Unsqueeze"(%xs, %last) {result_names = ["h_c"]} : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x4x1xf32>
    %h_m = onnx.node "MatMul"(%g, %h_c) {result_names = ["h_m"]} : (tensor<?x12x4xf32>, tensor<?x4x1xf32>) -> tensor<?x12x1xf32>
    %h = onnx.node "Squeeze"(%h_m, %last) {result_names = ["h"]} : (tensor<?x12x1xf32>, tensor<1xi64>) -> tensor<?x12xf32>
    %b:2 = onnx.node "Split"(%h) {node_attributes = {axis = 1 : i64, num_outputs = 2 : i64}, result_names = ["b", "b2"]} : (tensor<?x12xf32>) -> (tensor<?x6xf32>, tensor<?x6xf32>)
    %sg = onnx.node "Sigmoid"(%b#0) {result_names = ["sg"]} : (tensor<?x6xf32>) -> tensor<?x6xf32>
    %a = onnx.node "Mul"(%b#0, %sg) {result_names = ["a"]} : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
    %m = onnx.node "Mul"(%a, %b#1) {result_names = ["m"]} : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
    %d_i = onnx.node "Unsqueeze"(%e, %last) {result_names = ["d_i"]} : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
    %d = onnx.node "GatherND"(%down, %d_i) {result_names = ["d"]} : (tensor<8x4x6xf32>, tensor<?x1xi64>) -> tensor<?x4x6xf32>
    %q_c = onnx.node "Unsqueeze"(%m, %last) {result_names = ["q_c"]} : (tensor<?x6xf32>, tensor<1xi64>) -> tensor<?x6x1xf32>
    %q_m = onnx.node "MatMul"(%d, %q_c) {result_names = ["q_m"]} : (tensor<?x4x6xf32>, tensor<?x6x1xf32>) -> tensor<?x4x1xf32>
    %q = onnx.node "Squeeze"(%q_m, %last) {result_names = ["q"]} : (tensor<?x4x1xf32>, tensor<1xi64>) -> tensor<?x4xf32>
    %wf = onnx.node "Reshape"(%w, %last) {result_names = ["wf"]} : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?xf32>
    %wc = onnx.node "Unsqueeze"(%wf, %last) {result_names = ["wc"]} : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
    %qw = onnx.node "Mul"(%q, %wc) {result_names = ["qw"]} : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
    %z = onnx.node "Reshape"(%qw, %parts) {result_names = ["z"]} : (tensor<?x4xf32>, tensor<3xi64>) -> tensor<?x2x4xf32>
    %y = onnx.node "ReduceSum"(%z, %one) {node_attributes = {keepdims = 1 : i64}, result_names = ["y"]} : (tensor<?x2x4xf32>, tensor<1xi64>) -> tensor<?x1x4xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x1x4xf32>
  } {input_names = ["x"]}
}

// -----

// A product is read elsewhere.
// CHECK-LABEL: onnx.graph @read
// CHECK-NOT: adapter.experts
// CHECK: onnx.return
onnx.model @m attributes {ir_version = 10 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @read (%x: tensor<?x4xf32, #onnx.dims<"t", "">>) {
    %r = adapter.parameter "base"::"router" : tensor<4x8xf32>
    %up = adapter.parameter "base"::"up" : tensor<8x12x4xf32>
    %down = adapter.parameter "base"::"down" : tensor<8x4x6xf32>
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
    %g = onnx.node "GatherND"(%up, %g_i) {result_names = ["g"]} : (tensor<8x12x4xf32>, tensor<?x1xi64>) -> tensor<?x12x4xf32>
    %h_c = onnx.node "Unsqueeze"(%xs, %last) {result_names = ["h_c"]} : (tensor<?x4xf32>, tensor<1xi64>) -> tensor<?x4x1xf32>
    %h_m = onnx.node "MatMul"(%g, %h_c) {result_names = ["h_m"]} : (tensor<?x12x4xf32>, tensor<?x4x1xf32>) -> tensor<?x12x1xf32>
    %h = onnx.node "Squeeze"(%h_m, %last) {result_names = ["h"]} : (tensor<?x12x1xf32>, tensor<1xi64>) -> tensor<?x12xf32>
    %b:2 = onnx.node "Split"(%h) {node_attributes = {axis = 1 : i64, num_outputs = 2 : i64}, result_names = ["b", "b2"]} : (tensor<?x12xf32>) -> (tensor<?x6xf32>, tensor<?x6xf32>)
    %sg = onnx.node "Sigmoid"(%b#0) {result_names = ["sg"]} : (tensor<?x6xf32>) -> tensor<?x6xf32>
    %a = onnx.node "Mul"(%b#0, %sg) {result_names = ["a"]} : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
    %m = onnx.node "Mul"(%a, %b#1) {result_names = ["m"]} : (tensor<?x6xf32>, tensor<?x6xf32>) -> tensor<?x6xf32>
    %d_i = onnx.node "Unsqueeze"(%e, %last) {result_names = ["d_i"]} : (tensor<?xi64>, tensor<1xi64>) -> tensor<?x1xi64>
    %d = onnx.node "GatherND"(%down, %d_i) {result_names = ["d"]} : (tensor<8x4x6xf32>, tensor<?x1xi64>) -> tensor<?x4x6xf32>
    %q_c = onnx.node "Unsqueeze"(%m, %last) {result_names = ["q_c"]} : (tensor<?x6xf32>, tensor<1xi64>) -> tensor<?x6x1xf32>
    %q_m = onnx.node "MatMul"(%d, %q_c) {result_names = ["q_m"]} : (tensor<?x4x6xf32>, tensor<?x6x1xf32>) -> tensor<?x4x1xf32>
    %q = onnx.node "Squeeze"(%q_m, %last) {result_names = ["q"]} : (tensor<?x4x1xf32>, tensor<1xi64>) -> tensor<?x4xf32>
    %wf = onnx.node "Reshape"(%w, %last) {result_names = ["wf"]} : (tensor<?x2xf32>, tensor<1xi64>) -> tensor<?xf32>
    %wc = onnx.node "Unsqueeze"(%wf, %last) {result_names = ["wc"]} : (tensor<?xf32>, tensor<1xi64>) -> tensor<?x1xf32>
    %qw = onnx.node "Mul"(%q, %wc) {result_names = ["qw"]} : (tensor<?x4xf32>, tensor<?x1xf32>) -> tensor<?x4xf32>
    %z = onnx.node "Reshape"(%qw, %parts) {result_names = ["z"]} : (tensor<?x4xf32>, tensor<3xi64>) -> tensor<?x2x4xf32>
    %y = onnx.node "ReduceSum"(%z, %one) {node_attributes = {keepdims = 0 : i64}, result_names = ["y"]} : (tensor<?x2x4xf32>, tensor<1xi64>) -> tensor<?x4xf32>
    onnx.return {output_names = ["y", "o"]} %y, %q : tensor<?x4xf32>, tensor<?x4xf32>
  } {input_names = ["x"]}
}
