// RUN: adapter-opt %s --split-input-file --verify-diagnostics

func.func @zeros(%c: tensor<40x32xi8>, %s: tensor<40x2xf32>, %v: tensor<64x40xf32>) {
  // expected-error @below {{needs a format of integers, a block of at least 1, and zeros where the format has them}}
  %w = kernel.dequantize ins(%c, %s : tensor<40x32xi8>, tensor<40x2xf32>) outs(%v : tensor<64x40xf32>) {block = 32 : i64, format = #kernel.format<int4, zeros>, transposed} -> tensor<64x40xf32>
  return
}

// -----

func.func @bytes(%c: tensor<40x31xi8>, %s: tensor<40x2xf32>, %v: tensor<64x40xf32>) {
  // expected-error @below {{has sizes that do not fit}}
  %w = kernel.dequantize ins(%c, %s : tensor<40x31xi8>, tensor<40x2xf32>) outs(%v : tensor<64x40xf32>) {block = 32 : i64, format = #kernel.format<int4>, transposed} -> tensor<64x40xf32>
  return
}

// -----

func.func @scales(%c: tensor<40x32xi8>, %s: tensor<40x1xf32>, %v: tensor<64x40xf32>) {
  // expected-error @below {{has sizes that do not fit}}
  %w = kernel.dequantize ins(%c, %s : tensor<40x32xi8>, tensor<40x1xf32>) outs(%v : tensor<64x40xf32>) {block = 32 : i64, format = #kernel.format<int4>, transposed} -> tensor<64x40xf32>
  return
}

// -----

func.func @types(%c: tensor<40x32xi8>, %s: tensor<40x2xf16>, %v: tensor<64x40xf32>) {
  // expected-error @below {{needs matrices of i8 codes and f32 scales and zeros}}
  %w = kernel.dequantize ins(%c, %s : tensor<40x32xi8>, tensor<40x2xf16>) outs(%v : tensor<64x40xf32>) {block = 32 : i64, format = #kernel.format<int4>, transposed} -> tensor<64x40xf32>
  return
}

// -----

func.func @packed(%c: tensor<40x32xi8>, %s: tensor<40x2xf32>, %v: tensor<2x2x575xi8>) {
  // expected-error @below {{makes bytes of int4, of rank 3}}
  %w = kernel.repack ins(%c, %s : tensor<40x32xi8>, tensor<40x2xf32>) outs(%v : tensor<2x2x575xi8>) {block = 32 : i64, format = #kernel.format<int4>} -> tensor<2x2x575xi8>
  return
}

// -----

func.func @blocks(%c: tensor<40x48xi8>, %s: tensor<40x2xf32>, %v: tensor<2x3x576xi8>) {
  // expected-error @below {{has groups of 32 steps across blocks of 48}}
  %w = kernel.repack ins(%c, %s : tensor<40x48xi8>, tensor<40x2xf32>) outs(%v : tensor<2x3x576xi8>) {block = 48 : i64, format = #kernel.format<int4>} -> tensor<2x3x576xi8>
  return
}

// -----

// expected-error @below {{numbers of bf16 have no scales}}
func.func private @format() attributes {x = #kernel.format<bf16, zeros>}

// -----

// expected-error @below {{'int3' is no format of numbers}}
func.func private @number() attributes {x = #kernel.format<int3>}
