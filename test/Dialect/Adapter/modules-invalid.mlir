// RUN: adapter-opt %s --split-input-file --verify-diagnostics

// One matrix is none.
func.func @f(%x: tensor<?x4xf32>, %d: tensor<4xf32>, %u: tensor<4x2xf32>) {
  // expected-error @+1 {{'adapter.bottleneck' op needs matrices down and up; got 'tensor<4xf32>' and 'tensor<4x2xf32>'}}
  %y = adapter.bottleneck %x down %d up %u {
  ^bb0(%n: tensor<?x2xf32>):
    adapter.yield %n : tensor<?x2xf32>
  } : (tensor<?x4xf32>, tensor<4xf32>, tensor<4x2xf32>) -> tensor<?x4xf32>
  return
}

// -----

// The input is of another width.
func.func @f(%x: tensor<?x5xf32>, %d: tensor<2x4xf32>, %u: tensor<4x2xf32>) {
  // expected-error @+1 {{'adapter.bottleneck' op has an input of width 5, but down takes 4}}
  %y = adapter.bottleneck %x down %d up %u {
  ^bb0(%n: tensor<?x2xf32>):
    adapter.yield %n : tensor<?x2xf32>
  } : (tensor<?x5xf32>, tensor<2x4xf32>, tensor<4x2xf32>) -> tensor<?x4xf32>
  return
}

// -----

// So is the result.
func.func @f(%x: tensor<?x4xf32>, %d: tensor<2x4xf32>, %u: tensor<4x2xf32>) {
  // expected-error @+1 {{'adapter.bottleneck' op has a result of width 5, but up gives 4}}
  %y = adapter.bottleneck %x down %d up %u {
  ^bb0(%n: tensor<?x2xf32>):
    adapter.yield %n : tensor<?x2xf32>
  } : (tensor<?x4xf32>, tensor<2x4xf32>, tensor<4x2xf32>) -> tensor<?x5xf32>
  return
}

// -----

// Biases are added to what the matrices give.
func.func @f(%x: tensor<?x4xf32>, %d: tensor<2x4xf32>, %u: tensor<4x2xf32>, %b: tensor<4xf32>) {
  // expected-error @+1 {{'adapter.bottleneck' op needs biases of 2 and 4 elements}}
  %y = adapter.bottleneck %x down %d bias %b up %u {
  ^bb0(%n: tensor<?x2xf32>):
    adapter.yield %n : tensor<?x2xf32>
  } : (tensor<?x4xf32>, tensor<2x4xf32>, tensor<4xf32>, tensor<4x2xf32>) -> tensor<?x4xf32>
  return
}

// -----

// A scale for the whole, or for each output.
func.func @f(%x: tensor<?x4xf32>, %d: tensor<2x4xf32>, %u: tensor<4x2xf32>, %s: tensor<2xf32>) {
  // expected-error @+1 {{'adapter.bottleneck' op needs a scale of 1 or 4 elements; got 'tensor<2xf32>'}}
  %y = adapter.bottleneck %x down %d up %u scale %s {
  ^bb0(%n: tensor<?x2xf32>):
    adapter.yield %n : tensor<?x2xf32>
  } : (tensor<?x4xf32>, tensor<2x4xf32>, tensor<4x2xf32>, tensor<2xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>, %r: tensor<?x3xf32>, %d: tensor<2x4xf32>, %u: tensor<4x2xf32>) {
  // expected-error @+1 {{'adapter.bottleneck' op has a residual of width 3, not 4}}
  %y = adapter.bottleneck %x down %d up %u residual %r {
  ^bb0(%n: tensor<?x2xf32>):
    adapter.yield %n : tensor<?x2xf32>
  } : (tensor<?x4xf32>, tensor<2x4xf32>, tensor<4x2xf32>, tensor<?x3xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>, %d: tensor<2x4xf32>, %u: tensor<4x2xf32>) {
  // expected-error @+1 {{'adapter.bottleneck' op needs a region with one argument that ends in adapter.yield}}
  %y = adapter.bottleneck %x down %d up %u {
  ^bb0(%n: tensor<?x2xf32>, %m: tensor<?x2xf32>):
    adapter.yield %n : tensor<?x2xf32>
  } : (tensor<?x4xf32>, tensor<2x4xf32>, tensor<4x2xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>, %d: tensor<2x4xf32>, %u: tensor<4x2xf32>) {
  // expected-error @+1 {{'adapter.bottleneck' op has a region on a value of width 3, but down gives 2}}
  %y = adapter.bottleneck %x down %d up %u {
  ^bb0(%n: tensor<?x3xf32>):
    adapter.yield %n : tensor<?x3xf32>
  } : (tensor<?x4xf32>, tensor<2x4xf32>, tensor<4x2xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @f(%x: tensor<?x4xf32>, %d: tensor<2x4xf32>, %u: tensor<4x3xf32>) {
  // expected-error @+1 {{'adapter.bottleneck' op has a region that yields a value of width 2, but up takes 3}}
  %y = adapter.bottleneck %x down %d up %u {
  ^bb0(%n: tensor<?x2xf32>):
    adapter.yield %n : tensor<?x2xf32>
  } : (tensor<?x4xf32>, tensor<2x4xf32>, tensor<4x3xf32>) -> tensor<?x4xf32>
  return
}

// -----

func.func @f(%w: tensor<4x2xf32>, %m: tensor<4x2xi8>) {
  // expected-error @+1 {{'adapter.mask_mix' op needs a mask for each factor; got 2 factors and 1 masks}}
  %y = adapter.mask_mix sum %w, %w masks %m : tensor<4x2xf32>, tensor<4x2xf32> masks tensor<4x2xi8> -> tensor<4x2xf32>
  return
}

// -----

func.func @f(%w: tensor<4x3xf32>, %m: tensor<4x2xi8>) {
  // expected-error @+1 {{'adapter.mask_mix' op mixes a 'tensor<4x3xf32>' into a 'tensor<4x2xf32>'}}
  %y = adapter.mask_mix sum %w masks %m : tensor<4x3xf32> masks tensor<4x2xi8> -> tensor<4x2xf32>
  return
}

// -----

func.func @f(%w: tensor<4x2xf32>, %m: tensor<4x2xf32>) {
  // expected-error @+1 {{'adapter.mask_mix' op needs masks of integers, shaped as the factors; got 'tensor<4x2xf32>'}}
  %y = adapter.mask_mix sum %w masks %m : tensor<4x2xf32> masks tensor<4x2xf32> -> tensor<4x2xf32>
  return
}

// -----

// A site of a parameter holds no module.
adapter.site @s {module = "q", parameter = "bias", kind = #adapter.kind<vector>, time = #adapter.time<row>,
                 rows = 4 : i64, columns = 0 : i64, forms = ["replace"]}
func.func @f(%h: tensor<?x4xf32>) {
  // expected-error @+1 {{'adapter.act' op refers to @s, which is no adapter.site of a bottleneck}}
  %y = adapter.act @s on %h of %h : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}

// -----

adapter.site @s {module = "q", parameter = "sublayer_onto_sublayer", kind = #adapter.kind<bottleneck>,
                 time = #adapter.time<row>, rows = 8 : i64, columns = 4 : i64, bottlenecks = [#adapter.bottleneck<relu>]}
func.func @f(%h: tensor<?x4xf32>) {
  // expected-error @+1 {{'adapter.act' op does not map a width of 4 to one of 8, as its site does}}
  %y = adapter.act @s on %h of %h : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return
}
