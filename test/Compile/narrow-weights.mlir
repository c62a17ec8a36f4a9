// RUN: adapter-opt %s --adapter-narrow-weights=number=int4 2>/dev/null | FileCheck %s --check-prefixes=CHECK,INT4
// RUN: adapter-opt %s --adapter-narrow-weights=number=int8\ group=64 2>/dev/null | FileCheck %s --check-prefixes=CHECK,INT8
// RUN: adapter-opt %s --adapter-narrow-weights=number=bf16 2>&1 | FileCheck %s --check-prefix=BF16
// RUN: adapter-opt %s --adapter-narrow-weights=number=int4 2>&1 >/dev/null | FileCheck %s --check-prefix=SAID
// SAID: warning: --weights int4: 2 weights whose number of rows is no multiple of 32 are of bf16 or f32

// CHECK-LABEL: func.func @products
// INT4: %[[W:.*]] = kernel.encode {{.*}} {format = #kernel.format<int4>} -> tensor<2x2x576xi8>
// INT8: %[[W:.*]] = kernel.encode {{.*}} {format = #kernel.format<int8, group = 64>} -> tensor<2x1x2112xi8>
// BF16: %[[W:.*]] = kernel.encode {{.*}} {format = #kernel.format<bf16>} -> tensor<2x32x128xi8>
// One for both products.
// CHECK-NOT: kernel.encode {{.*}}tensor<2x64x32xf32>
// CHECK: kernel.linear ins(%{{.*}}, %[[W]] : {{.*}}format = #kernel.format
// CHECK: kernel.row_linear {{.*}} weight(%[[W]] : {{.*}}format = #kernel.format
func.func @products(%x: tensor<?x64xf32>, %y: tensor<?x40xf32>, %p: tensor<2x64x32xf32>) -> (tensor<?x40xf32>, tensor<?x40xf32>) {
  %w = kernel.parameter 0 : tensor<64x40xf32>
  %q = kernel.pack ins(%w : tensor<64x40xf32>) outs(%p : tensor<2x64x32xf32>) -> tensor<2x64x32xf32>
  %a = kernel.linear ins(%x, %q : tensor<?x64xf32>, tensor<2x64x32xf32>) outs(%y : tensor<?x40xf32>) -> tensor<?x40xf32>
  %b = kernel.row_linear ins(%x : tensor<?x64xf32>) weight(%q : tensor<2x64x32xf32>) outs(%y : tensor<?x40xf32>) {bank = 0 : i64} -> tensor<?x40xf32>
  return %a, %b : tensor<?x40xf32>, tensor<?x40xf32>
}

// A number of rows that does not fit: bf16 where it is even, f32 else.
// CHECK-LABEL: func.func @rows
// CHECK: kernel.linear {{.*}}tensor<1x25x128xi8>{{.*}}format = #kernel.format<bf16>
// CHECK: kernel.linear {{.*}}tensor<1x33x32xf32>) outs(%{{[a-z0-9]*}} : tensor<?x20xf32>) ->
func.func @rows(%x: tensor<?x50xf32>, %z: tensor<?x33xf32>, %y: tensor<?x20xf32>, %p: tensor<1x50x32xf32>, %r: tensor<1x33x32xf32>) -> (tensor<?x20xf32>, tensor<?x20xf32>) {
  %w = kernel.parameter 0 : tensor<50x20xf32>
  %v = kernel.parameter 1 : tensor<33x20xf32>
  %q = kernel.pack ins(%w : tensor<50x20xf32>) outs(%p : tensor<1x50x32xf32>) -> tensor<1x50x32xf32>
  %s = kernel.pack ins(%v : tensor<33x20xf32>) outs(%r : tensor<1x33x32xf32>) -> tensor<1x33x32xf32>
  %a = kernel.linear ins(%x, %q : tensor<?x50xf32>, tensor<1x50x32xf32>) outs(%y : tensor<?x20xf32>) -> tensor<?x20xf32>
  %b = kernel.linear ins(%z, %s : tensor<?x33xf32>, tensor<1x33x32xf32>) outs(%y : tensor<?x20xf32>) -> tensor<?x20xf32>
  return %a, %b : tensor<?x20xf32>, tensor<?x20xf32>
}

// What a call brings is no weight.
// CHECK-LABEL: func.func @activations
// CHECK-NOT: kernel.encode
func.func @activations(%x: tensor<?x64xf32>, %w: tensor<64x40xf32>, %y: tensor<?x40xf32>, %p: tensor<2x64x32xf32>) -> tensor<?x40xf32> {
  %q = kernel.pack ins(%w : tensor<64x40xf32>) outs(%p : tensor<2x64x32xf32>) -> tensor<2x64x32xf32>
  %a = kernel.linear ins(%x, %q : tensor<?x64xf32>, tensor<2x64x32xf32>) outs(%y : tensor<?x40xf32>) -> tensor<?x40xf32>
  return %a : tensor<?x40xf32>
}
