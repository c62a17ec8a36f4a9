// RUN: adapter-opt %s --kernel-expand-math --split-input-file --verify-diagnostics | FileCheck %s

// CHECK-LABEL: func.func @expanded
// CHECK-NOT: math.{{exp|tanh|erf|log|powf|sin}}
func.func @expanded(%x: f32, %v: vector<16xf32>) -> (f32, vector<16xf32>) {
  %0 = math.exp %x : f32
  %1 = math.tanh %0 : f32
  %2 = math.erf %1 : f32
  %3 = math.log %2 : f32
  %4 = math.powf %3, %x : f32
  %5 = math.exp %v : vector<16xf32>
  return %4, %5 : f32, vector<16xf32>
}

// What processors have stays.
// CHECK-LABEL: func.func @native
// CHECK-NEXT: math.sqrt
// CHECK-NEXT: math.floor
// CHECK-NEXT: math.absf
// CHECK-NEXT: math.fma
// CHECK-NEXT: return
func.func @native(%x: f32) -> f32 {
  %0 = math.sqrt %x : f32
  %1 = math.floor %0 : f32
  %2 = math.absf %1 : f32
  %3 = math.fma %2, %x, %x : f32
  return %3 : f32
}

// f64 too, scalars and vectors.
// CHECK-LABEL: func.func @wide
// CHECK-NOT: math.{{exp|tanh|erf|log|sin|cos}}
// CHECK: return
func.func @wide(%x: f64, %v: vector<4xf64>) -> (f64, vector<4xf64>) {
  %0 = math.exp %x : f64
  %1 = math.tanh %0 : f64
  %2 = math.erf %1 : f64
  %3 = math.log %2 : f64
  %4 = math.sin %3 : f64
  %5 = math.cos %v : vector<4xf64>
  return %4, %5 : f64, vector<4xf64>
}

// -----

// Libraries are not called.
func.func @unknown(%x: f64) -> f64 {
  // expected-error @below {{math.acosh on 'f64' has no expansion}}
  %0 = math.acosh %x : f64
  return %0 : f64
}
