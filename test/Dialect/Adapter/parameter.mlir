// RUN: adapter-opt %s | adapter-opt | FileCheck %s
// RUN: adapter-opt %s --mlir-print-op-generic | adapter-opt | FileCheck %s

// CHECK-LABEL: func.func @parameters
func.func @parameters() {
  // CHECK: adapter.parameter "base"::"layers.0.weight" : tensor<8x8xf32>
  %w = adapter.parameter "base"::"layers.0.weight" : tensor<8x8xf32>
  // CHECK: adapter.parameter "base"::"shape" = dense<[1, -1]> : tensor<2xi64>
  %s = adapter.parameter "base"::"shape" = dense<[1, -1]> : tensor<2xi64>
  // CHECK: adapter.parameter "a b"::"odd\22name" {extra = "doc_string: \22d\22"} : tensor<?xi4>
  %o = adapter.parameter "a b"::"odd\22name" {extra = "doc_string: \22d\22"} : tensor<?xi4>
  // CHECK: adapter.parameter "base"::"named" = dense<1> : tensor<3xi64> : tensor<3xi64, #onnx.dims<"", "">>
  %n = adapter.parameter "base"::"named" = dense<1> : tensor<3xi64> : tensor<3xi64, #onnx.dims<"", "">>
  return
}
