// RUN: adapter-opt %s --split-input-file --verify-diagnostics

func.func @bytes(%p: tensor<2x64x32xf32>, %b: tensor<2x2x575xi8>) {
  // expected-error @below {{has 575 bytes for 32 columns of int4}}
  %e = kernel.encode ins(%p : tensor<2x64x32xf32>) outs(%b : tensor<2x2x575xi8>) {format = #kernel.format<int4>} -> tensor<2x2x575xi8>
  return
}

// -----

func.func @groups(%p: tensor<2x64x32xf32>, %b: tensor<2x1x576xi8>) {
  // expected-error @below {{has sizes that do not fit: groups of 32 steps}}
  %e = kernel.decode ins(%b : tensor<2x1x576xi8>) outs(%p : tensor<2x64x32xf32>) {format = #kernel.format<int4>} -> tensor<2x64x32xf32>
  return
}

// -----

func.func @type(%p: tensor<2x64x32xf64>, %b: tensor<2x32x128xi8>) {
  // expected-error @below {{needs a packed weight of f32 and bytes, both of rank 3}}
  %e = kernel.encode ins(%p : tensor<2x64x32xf64>) outs(%b : tensor<2x32x128xi8>) {format = #kernel.format<bf16>} -> tensor<2x32x128xi8>
  return
}

// -----

func.func @without(%x: tensor<?x64xf32>, %w: tensor<2x2x576xi8>, %y: tensor<?x40xf32>) {
  // expected-error @below {{has a weight of 'i8' without a format}}
  %a = kernel.linear ins(%x, %w : tensor<?x64xf32>, tensor<2x2x576xi8>) outs(%y : tensor<?x40xf32>) -> tensor<?x40xf32>
  return
}

// -----

func.func @depth(%x: tensor<?x96xf32>, %w: tensor<2x2x576xi8>, %y: tensor<?x40xf32>) {
  // expected-error @below {{has 96 columns of input for 64 rows of weight}}
  %a = kernel.linear ins(%x, %w : tensor<?x96xf32>, tensor<2x2x576xi8>) outs(%y : tensor<?x40xf32>) {format = #kernel.format<int4>} -> tensor<?x40xf32>
  return
}

// -----

// expected-error @below {{a group is a multiple of 8 up to 1024, not 20}}
func.func private @attribute() attributes {x = #kernel.format<int8, group = 20>}
