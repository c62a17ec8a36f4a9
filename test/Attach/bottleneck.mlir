// REQUIRES: onnx
// RUN: %make-adapter %s %t.hub
// RUN: adapter-opt %s --adapter x=%t.hub | FileCheck %s
// RUN: adapter-opt %s --adapter x=%t.hub@row | FileCheck %s --check-prefix=ROW
// RUN: adapter-opt %s --adapter x=%t.hub --check | FileCheck %s --check-prefix=CHECK-TABLE
// RUN: not adapter-opt %s --adapter x=%t.hub@switch 2>&1 | FileCheck %s --check-prefix=SWITCH
// ADAPTER
// {"hub": {"output_adapter": true, "reduction_factor": 2, "non_linearity": "relu", "scaling": 2.0, "is_parallel": true},
//  "tensors": {"encoder.layer.0.output.adapters.x.adapter_down.0.weight": [2, 4],
//              "encoder.layer.0.output.adapters.x.adapter_down.0.bias": [2],
//              "encoder.layer.0.output.adapters.x.adapter_up.weight": [4, 2],
//              "encoder.layer.0.output.adapters.x.adapter_up.bias": [4]}}
// END

// CHECK-TABLE: x        encoder.layer.0.output  residual_onto_sublayer  bottleneck  bottleneck+relu  2     2      -            /encoder/layer.0/output/Add
// SWITCH: error: adapter 'x': module 'encoder.layer.0.output' (residual_onto_sublayer, bottleneck+relu): a module has no weight of the model to switch; bind it at build, call or row

onnx.model @m attributes {ir_version = 9 : i64, opsets = ["", 20 : i64]} {
  // ROW: adapter.site @site_0 {bottlenecks = [#adapter.bottleneck<relu>], columns = 4 : i64, kind = #adapter.kind<bottleneck>, module = "encoder.layer.0.output", parameter = "residual_onto_sublayer", rows = 4 : i64, time = #adapter.time<row>}
  onnx.graph @main (%x: tensor<?x?x4xf32>) {
    %w = adapter.parameter "base"::"w" : tensor<4x4xf32>
    %s = adapter.parameter "base"::"scale" : tensor<4xf32>
    // CHECK: %[[T:.*]] = onnx.node "Relu"
    // ROW: %[[T:.*]] = onnx.node "Relu"
    %t = onnx.node "Relu"(%x) {node_name = "/embeddings/Relu", result_names = ["t"]} : (tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
    // CHECK: %[[H:.*]] = onnx.node "MatMul"(%[[T]],
    // ROW: %[[H:.*]] = onnx.node "MatMul"(%[[T]],
    %h = onnx.node "MatMul"(%t, %w) {node_name = "/encoder/layer.0/output/dense/MatMul", result_names = ["h"]} : (tensor<?x?x4xf32>, tensor<4x4xf32>) -> tensor<?x?x4xf32>
    // The module reads the residual stream, its output meets the sub-layer's; norm and sum stay.
    // CHECK: %[[D:.*]] = adapter.parameter "x"::"encoder.layer.0.output.residual_onto_sublayer.bottleneck+relu.down" : tensor<2x4xf32>
    // CHECK: %[[O:.*]] = adapter.bottleneck %[[T]] down %[[D]] bias %{{.*}} up %{{.*}} bias %{{.*}} residual %[[H]] {
    // CHECK: onnx.node "Relu"
    // CHECK: factor = 2.000000e+00
    // CHECK: onnx.node "Add"(%[[O]], %[[T]])
    // ROW: %[[O:.*]] = adapter.act @site_0 on %[[H]] of %[[T]] :
    // ROW: onnx.node "Add"(%[[O]], %[[T]])
    %sum = onnx.node "Add"(%h, %t) {node_name = "/encoder/layer.0/output/Add", result_names = ["sum"]} : (tensor<?x?x4xf32>, tensor<?x?x4xf32>) -> tensor<?x?x4xf32>
    %n = onnx.node "LayerNormalization"(%sum, %s) {node_name = "/encoder/layer.0/output/LayerNorm/LayerNormalization", result_names = ["n"]} : (tensor<?x?x4xf32>, tensor<4xf32>) -> tensor<?x?x4xf32>
    onnx.return {output_names = ["n"]} %n : tensor<?x?x4xf32>
  } {input_names = ["x"]}
}
