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

// -----

// Libraries are not called: f64 has no expansion.
func.func @wide(%x: f64) -> f64 {
  // expected-error @below {{math.sin on 'f64' has no expansion; compiled code computes it in f32 only}}
  %0 = math.sin %x : f64
  return %0 : f64
}
