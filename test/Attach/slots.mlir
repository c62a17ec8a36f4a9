// RUN: adapter-opt %s --adapter-slot s:lora+add,rank=8@row --adapter-slot t:lora,modules=q@load --bind s.scale@call | FileCheck %s
// RUN: adapter-opt %s --adapter-slot s:lora+dora+embedding+rows+replace | FileCheck %s --check-prefix=ALL
// RUN: not adapter-opt %s --adapter-slot s:embedding 2>&1 | FileCheck %s --check-prefix=NOWHERE
// RUN: not adapter-opt %s --adapter-slot s:lora,modules=layer.x 2>&1 | FileCheck %s --check-prefix=MISSING
// RUN: adapter-opt %s --adapter-slot s:lora@call --check | FileCheck %s --check-prefix=TABLE

// CHECK: adapter.slot "s" at <row> forms ["lora", "add"] rank 8 {bound = ["scale"]}
// CHECK: adapter.slot "t" at <load> forms ["lora"] rank 0
// CHECK-LABEL: onnx.model @m
// A convolution's weight has room as a product with patches; biases that the graph lacks have some, too.
// CHECK: adapter.site @site_0 {columns = 18 : i64, forms = ["lora"], kind = #adapter.kind<linear>, module = "layer.c", parameter = "weight"
// CHECK: adapter.site @site_1 {{.*}}forms = ["add"]{{.*}}kind = #adapter.kind<vector>, module = "layer.c", parameter = "bias"
// A time of its own is a site of its own; a glob takes the end of a path, too.
// CHECK: adapter.site @site_2 {{.*}}forms = ["lora"]{{.*}}module = "layer.q", {{.*}}slots = ["t"], spare, time = #adapter.time<load>
// CHECK: adapter.site @site_3 {{.*}}forms = ["lora"]{{.*}}module = "layer.q", {{.*}}slots = ["s"], spare, time = #adapter.time<row>
// CHECK: adapter.site @site_4 {{.*}}forms = ["add"]{{.*}}module = "layer.q", parameter = "bias"
// CHECK: %[[C:.*]] = adapter.parameter "base"::"c"
// CHECK: %[[D:.*]] = adapter.materialize %[[C]]
// CHECK: onnx.node "Conv"(%{{.*}}, %[[D]], %{{.*}})
// ALL: forms = ["lora", "rows", "replace", "lora+dora"]{{.*}}kind = #adapter.kind<linear>, module = "layer.q"
// ALL-SAME: time = #adapter.time<row>
// ALL: forms = ["replace"]{{.*}}kind = #adapter.kind<vector>, module = "layer.q", parameter = "bias"
// NOWHERE: error: slot 's': the graph has no place for lora
// MISSING: error: slot 's': the graph has no module 'layer.x'
// TABLE: slot s at call: 2 sites for lora, any rank
onnx.model @m attributes {ir_version = 9 : i64, opsets = ["", 20 : i64]} {
  onnx.graph @main (%x: tensor<?x4xf32>, %i: tensor<?x2x5x5xf32>) {
    %q = adapter.parameter "base"::"q" : tensor<4x3xf32>
    %c = adapter.parameter "base"::"c" : tensor<2x2x3x3xf32>
    %0 = onnx.node "MatMul"(%x, %q) {node_name = "/layer/q/MatMul", result_names = ["0"]} : (tensor<?x4xf32>, tensor<4x3xf32>) -> tensor<?x3xf32>
    %1 = onnx.node "Conv"(%i, %c) {node_name = "/layer/c/Conv", result_names = ["1"]} : (tensor<?x2x5x5xf32>, tensor<2x2x3x3xf32>) -> tensor<?x2x3x3xf32>
    onnx.return {output_names = ["0", "1"]} %0, %1 : tensor<?x3xf32>, tensor<?x2x3x3xf32>
  } {input_names = ["x", "i"]}
}
