// RUN: adapter-opt %s --convert-kernel-to-gpu --split-input-file --verify-diagnostics

// An op without a form on devices is named.
func.func @pack(%w: memref<70x45xf32, #gpu.address_space<global>>, %p: memref<1x70x64xf32, #gpu.address_space<global>>) attributes {adapter.parameters = []} {
  // expected-error @+1 {{kernel.pack has no form on devices}}
  kernel.pack ins(%w : memref<70x45xf32, #gpu.address_space<global>>) outs(%p : memref<1x70x64xf32, #gpu.address_space<global>>)
  return
}

// -----

// The packed weight's block is the tile's width.
func.func @block(%x: memref<?x70xf32, #gpu.address_space<global>>, %w: memref<2x70x32xf32, #gpu.address_space<global>>, %y: memref<?x45xf32, #gpu.address_space<global>>) attributes {adapter.parameters = []} {
  // expected-error @+1 {{packs its weight in other blocks than the device's tiles}}
  kernel.linear ins(%x, %w : memref<?x70xf32, #gpu.address_space<global>>, memref<2x70x32xf32, #gpu.address_space<global>>) outs(%y : memref<?x45xf32, #gpu.address_space<global>>)
  return
}
