// REQUIRES: onnx
// RUN: %make-adapter %s %t.hub
// RUN: adapter-opt %s --adapter x=%t.hub | FileCheck %s
// RUN: adapter-opt %s --adapter x=%t.hub@row | FileCheck %s --check-prefix=ROW
// RUN: not adapter-opt %s --adapter x=%t.hub --adapter y=%t.hub 2>&1 | FileCheck %s --check-prefix=TWICE
// ADAPTER
// {"hub": {"mh_adapter": true, "output_adapter": true, "reduction_factor": 2, "non_linearity": "swish",
//          "original_ln_before": true, "original_ln_after": false, "residual_before_ln": false},
//  "tensors": {"h.0.attention_adapters.adapters.x.adapter_down.0.weight": [2, 4],
//              "h.0.attention_adapters.adapters.x.adapter_down.0.bias": [2],
//              "h.0.attention_adapters.adapters.x.adapter_up.weight": [4, 2],
//              "h.0.attention_adapters.adapters.x.adapter_up.bias": [4],
//              "h.0.output_adapters.adapters.x.adapter_down.0.weight": [2, 4],
//              "h.0.output_adapters.adapters.x.adapter_down.0.bias": [2],
//              "h.0.output_adapters.adapters.x.adapter_up.weight": [4, 2],
//              "h.0.output_adapters.adapters.x.adapter_up.bias": [4]}}
// END

// TWICE: error: adapter 'y': module 'h.0.attention_adapters' (norm_onto_norm_final, bottleneck+silu): the module of adapter 'x' stands there and takes the place of the whole sum; nothing can be put behind it (and 1 more, see --check)

// A block that normalises first: the modules stand behind the sums, and what read those reads them.
onnx.model @m attributes {ir_version = 9 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @main (%x: tensor<?x?x4xf32>) {
    %w = adapter.parameter "base"::"w" : tensor<4x4xf32>
    %c = adapter.parameter "base"::"c" : tensor<4xf32>
    %a = onnx.node "MatMul"(%x, %w) {node_name = "/h.0/attn/MatMul", result_names = ["a"]} : (tensor<?x?x4xf32>, tensor<4x4xf32>) -> tensor<?x?x4xf32>
    // CHECK: %[[S:.*]] = onnx.node "Add"({{.*}} {node_name = "/h.0/Add"
    // CHECK: %[[O:.*]] = adapter.bottleneck %[[S]] {{.*}} residual %[[S]] {
    // CHECK: %[[M:.*]] = onnx.node "MatMul"(%[[O]],
    // CHECK: %[[S2:.*]] = onnx.node "Add"(%[[O]], %{{.*}}) {node_name = "/h.0/Add_1"
    // CHECK: %[[O2:.*]] = adapter.bottleneck %[[S2]] {{.*}} residual %[[S2]] {
    // CHECK: onnx.return {output_names = ["y"]} %[[O2]]
    // ROW: %[[S:.*]] = onnx.node "Add"({{.*}} {node_name = "/h.0/Add"
    // ROW: %[[O:.*]] = adapter.act @site_0 on %[[S]] of %[[S]]
    // ROW: onnx.node "MatMul"(%[[O]],
    %s = onnx.node "Add"(%a, %x) {node_name = "/h.0/Add", result_names = ["s"]} : (tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
    %m = onnx.node "MatMul"(%s, %w) {node_name = "/h.0/mlp/MatMul", result_names = ["m"]} : (tensor<?x?x4xf32>, tensor<4x4xf32>) -> tensor<?x?x4xf32>
    // An activation in the sub-layer adds what depends on one another too, but it lies deeper.
    %e = onnx.node "Tanh"(%m) {node_name = "/h.0/mlp/act/Tanh", result_names = ["e"]} : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
    %g = onnx.node "Add"(%m, %e) {node_name = "/h.0/mlp/act/Add", result_names = ["g"]} : (tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
    %y = onnx.node "Add"(%s, %g) {node_name = "/h.0/Add_1", result_names = ["y"]} : (tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
    onnx.return {output_names = ["y"]} %y : tensor<?x?x4xf32>
  } {input_names = ["x"]}
}
