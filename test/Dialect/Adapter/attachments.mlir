// RUN: adapter-opt %s | adapter-opt | FileCheck %s
// RUN: adapter-opt %s --canonicalize | FileCheck %s
// The record is kept as it is: nothing computes with it, and nothing removes it.

// CHECK: adapter.attachment "sql" at <build> attributes {base = "org/model", base_digest = "45", hash = "0123", scale = 5.000000e-01 : f64} {
// CHECK:   adapter.attached "layers.0.q" "weight" {derivation = "2 * layers.0.q.weight", evidence = "contents", form = "lora", node = "/q/MatMul", retained_error = 1.000000e-02 : f64}
adapter.attachment "sql" at <build> attributes {hash = "0123", scale = 0.5 : f64, base = "org/model", base_digest = "45"} {
  adapter.attached "layers.0.q" "weight" {form = "lora", node = "/q/MatMul", evidence = "contents", derivation = "2 * layers.0.q.weight", retained_error = 0.01 : f64}
}
