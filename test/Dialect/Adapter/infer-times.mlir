// RUN: adapter-opt %s --adapter-infer-times --split-input-file --verify-diagnostics | FileCheck %s

adapter.site @late {module = "m", parameter = "weight", kind = #adapter.kind<linear>, time = #adapter.time<switch>, rows = 4 : i64, columns = 4 : i64, forms = ["lora"]}
adapter.site @rows {module = "m", parameter = "weight", kind = #adapter.kind<linear>, time = #adapter.time<row>, rows = 4 : i64, columns = 4 : i64, forms = ["lora"]}

// CHECK-LABEL: func.func @times
func.func @times(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  // CHECK: adapter.parameter "base"::"w" {adapter.inferred = #adapter.time<build>}
  %w = adapter.parameter "base"::"w" : tensor<4x4xf32>
  // CHECK: adapter.select @late {adapter.inferred = #adapter.time<switch>}
  %u = adapter.select @late : !adapter.update<tensor<4x4xf32>>
  // CHECK: adapter.materialize {{.*}} {adapter.inferred = #adapter.time<switch>}
  %v = adapter.materialize %w, %u : tensor<4x4xf32>
  // What depends on an input is known in the call, what depends on a row's adapter differs by row.
  // CHECK: arith.addf {{.*}} {adapter.inferred = #adapter.time<call>}
  %y = arith.addf %v, %x : tensor<4x4xf32>
  %r = adapter.select @rows : !adapter.update<tensor<4x4xf32>>
  // CHECK: adapter.linear {{.*}} {adapter.inferred = #adapter.time<row>}
  %z = adapter.linear %y, %v update %r : tensor<4x4xf32>, tensor<4x4xf32>, !adapter.update<tensor<4x4xf32>> -> tensor<4x4xf32>
  return %z : tensor<4x4xf32>
}

// CHECK-LABEL: func.func @later_than_possible
func.func @later_than_possible() {
  // CHECK: adapter.parameter "x"::"s" {adapter.inferred = #adapter.time<call>, adapter.time = #adapter.time<call>}
  %s = adapter.parameter "x"::"s" {adapter.time = #adapter.time<call>} : tensor<f32>
  return
}

// -----

// A value cannot be known before what it is made of.
func.func @too_early(%x: tensor<4xf32>) {
  // expected-error @below {{declares its result known at build, but it depends on what is known at call}}
  %y = arith.addf %x, %x {adapter.time = #adapter.time<build>} : tensor<4xf32>
  return
}
