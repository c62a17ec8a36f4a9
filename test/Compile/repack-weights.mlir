// RUN: adapter-opt %s --adapter-repack-weights | FileCheck %s

// CHECK-LABEL: func.func @products
// CHECK: %[[W:.*]] = kernel.repack ins(%{{.*}}, %{{.*}} : tensor<40x32xi8>, tensor<40x2xf32>) outs(%{{.*}} : tensor<2x2x576xi8>) {block = 32 : i64, format = #kernel.format<int4>}
// One for both products.
// CHECK-NOT: kernel.repack
// CHECK: kernel.linear ins(%{{.*}}, %[[W]] : {{.*}}format = #kernel.format<int4>}
// CHECK: kernel.row_linear {{.*}} weight(%[[W]] : {{.*}}format = #kernel.format<int4>}
func.func @products(%x: tensor<?x64xf32>, %y: tensor<?x40xf32>, %p: tensor<2x64x32xf32>, %v: tensor<64x40xf32>) -> (tensor<?x40xf32>, tensor<?x40xf32>) {
  %c = kernel.parameter 0 : tensor<40x32xi8>
  %s = kernel.parameter 1 : tensor<40x2xf32>
  %w = kernel.dequantize ins(%c, %s : tensor<40x32xi8>, tensor<40x2xf32>) outs(%v : tensor<64x40xf32>) {block = 32 : i64, format = #kernel.format<int4>, transposed} -> tensor<64x40xf32>
  %q = kernel.pack ins(%w : tensor<64x40xf32>) outs(%p : tensor<2x64x32xf32>) -> tensor<2x64x32xf32>
  %a = kernel.linear ins(%x, %q : tensor<?x64xf32>, tensor<2x64x32xf32>) outs(%y : tensor<?x40xf32>) -> tensor<?x40xf32>
  %b = kernel.row_linear ins(%x : tensor<?x64xf32>) weight(%q : tensor<2x64x32xf32>) outs(%y : tensor<?x40xf32>) {bank = 0 : i64} -> tensor<?x40xf32>
  return %a, %b : tensor<?x40xf32>, tensor<?x40xf32>
}

// K ends within a group, which the product is told.
// CHECK-LABEL: func.func @partial
// CHECK: kernel.repack {{.*}} zeros({{.*}}) outs(%{{.*}} : tensor<2x2x640xi8>)
// CHECK: kernel.linear {{.*}} {format = #kernel.format<int4, zeros>, kernel.partial_group = 40 : i64}
func.func @partial(%x: tensor<?x40xf32>, %y: tensor<?x40xf32>, %p: tensor<2x40x32xf32>, %v: tensor<40x40xf32>) -> tensor<?x40xf32> {
  %c = kernel.parameter 0 : tensor<40x32xi8>
  %s = kernel.parameter 1 : tensor<40x2xf32>
  %w = kernel.dequantize ins(%c, %s : tensor<40x32xi8>, tensor<40x2xf32>) zeros(%s : tensor<40x2xf32>) outs(%v : tensor<40x40xf32>) {block = 32 : i64, format = #kernel.format<int4, zeros>} -> tensor<40x40xf32>
  %q = kernel.pack ins(%w : tensor<40x40xf32>) outs(%p : tensor<2x40x32xf32>) {transposed} -> tensor<2x40x32xf32>
  %a = kernel.linear ins(%x, %q : tensor<?x40xf32>, tensor<2x40x32xf32>) outs(%y : tensor<?x40xf32>) -> tensor<?x40xf32>
  return %a : tensor<?x40xf32>
}

// Blocks along the outputs: a product sums across them, and takes floats.
// CHECK-LABEL: func.func @across
// CHECK-NOT: kernel.repack
// CHECK: kernel.linear ins(%{{.*}}, %{{.*}} : tensor<?x40xf32>, tensor<2x40x32xf32>)
func.func @across(%x: tensor<?x40xf32>, %y: tensor<?x64xf32>, %p: tensor<2x40x32xf32>, %v: tensor<40x64xf32>) -> tensor<?x64xf32> {
  %c = kernel.parameter 0 : tensor<40x32xi8>
  %s = kernel.parameter 1 : tensor<40x2xf32>
  %w = kernel.dequantize ins(%c, %s : tensor<40x32xi8>, tensor<40x2xf32>) outs(%v : tensor<40x64xf32>) {block = 32 : i64, format = #kernel.format<int4>} -> tensor<40x64xf32>
  %q = kernel.pack ins(%w : tensor<40x64xf32>) outs(%p : tensor<2x40x32xf32>) -> tensor<2x40x32xf32>
  %a = kernel.linear ins(%x, %q : tensor<?x40xf32>, tensor<2x40x32xf32>) outs(%y : tensor<?x64xf32>) -> tensor<?x64xf32>
  return %a : tensor<?x64xf32>
}
