// RUN: adapter-opt %s --adapter-merge-modules --split-input-file --verify-diagnostics | FileCheck %s
// What a mixture becomes is tested in test/python/test_mosa.py, with contents.

// A mixture whose factors are known later stays.
// CHECK-LABEL: func @later
func.func @later(%w: tensor<4x2xf32>, %m: tensor<4x2xi8>) -> tensor<4x2xf32> {
  // CHECK: adapter.mask_mix sum
  %y = adapter.mask_mix sum %w masks %m : tensor<4x2xf32> masks tensor<4x2xi8> -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}

// -----

func.func @empty() -> tensor<4x2xf32> {
  // expected-error @+1 {{'x'::'w' has no contents to merge}}
  %w = adapter.parameter "x"::"w" : tensor<4x2xf32>
  %m = adapter.parameter "x"::"m" : tensor<4x2xi8>
  %y = adapter.mask_mix sum %w masks %m : tensor<4x2xf32> masks tensor<4x2xi8> -> tensor<4x2xf32>
  return %y : tensor<4x2xf32>
}
