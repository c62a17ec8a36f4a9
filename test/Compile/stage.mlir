// RUN: adapter-opt %s --adapter-stage --split-input-file --verify-diagnostics | FileCheck %s

// Nothing is known of the parameter's contents here: what needs them is an error that names it.
func.func @unknown(%x: tensor<4xf32>) -> tensor<4xf32> attributes {adapter.parameters = [#adapter.row<"base", "w">]} {
  // expected-error @below {{parameter 'base'::'w' has no contents}}
  %w = kernel.parameter 0 : tensor<4xf32>
  %e = tensor.empty() : tensor<4xf32>
  %n = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%w : tensor<4xf32>) outs(%e : tensor<4xf32>) {
  ^bb0(%a: f32, %b: f32):
    %m = arith.negf %a : f32
    linalg.yield %m : f32
  } -> tensor<4xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%x, %n : tensor<4xf32>, tensor<4xf32>) outs(%e : tensor<4xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %m = arith.addf %a, %b : f32
    linalg.yield %m : f32
  } -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

// Parameters that are read as they are stay, and rows that nothing reads leave the table.
// CHECK-LABEL: func.func @compacted
// CHECK-SAME: adapter.parameters = [#adapter.row<"base", "b">]
// CHECK: kernel.parameter 0 : tensor<4xf32>
// CHECK: linalg.generic
func.func @compacted(%x: tensor<4xf32>) -> tensor<4xf32> attributes {adapter.parameters = [#adapter.row<"base", "a">, #adapter.row<"base", "b">]} {
  %w = kernel.parameter 1 : tensor<4xf32>
  %e = tensor.empty() : tensor<4xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%x, %w : tensor<4xf32>, tensor<4xf32>) outs(%e : tensor<4xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32):
    %m = arith.addf %a, %b : f32
    linalg.yield %m : f32
  } -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

// A function without a parameter table is left alone, whatever is in it.
// CHECK-LABEL: func.func @no_table
// CHECK: kernel.parameter 7
func.func @no_table() -> tensor<4xf32> {
  %w = kernel.parameter 7 : tensor<4xf32>
  return %w : tensor<4xf32>
}
