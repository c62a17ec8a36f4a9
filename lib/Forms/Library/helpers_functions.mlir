// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Helpers that compute functions element by element; see helpers.mlir.

// f of each element, by its number: 0 relu, 1 gelu, 2 gelu by tanh, 3 silu, 4 tanh, 5 sigmoid, 6 nothing.
func.func @activated(%a: tensor<?x?xf64>, %f: index) -> tensor<?x?xf64> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %m = tensor.dim %a, %c0 : tensor<?x?xf64>
  %n = tensor.dim %a, %c1 : tensor<?x?xf64>
  %r = tensor.generate %m, %n {
  ^bb0(%i: index, %j: index):
    %c2 = arith.constant 2 : index
    %c3 = arith.constant 3 : index
    %c4 = arith.constant 4 : index
    %c5 = arith.constant 5 : index
    %zero = arith.constant 0.0 : f64
    %half = arith.constant 0.5 : f64
    %one = arith.constant 1.0 : f64
    %root = arith.constant 0.70710678118654752 : f64
    %k0 = arith.constant 0.79788456080286536 : f64
    %k1 = arith.constant 0.044715 : f64
    %x = tensor.extract %a[%i, %j] : tensor<?x?xf64>
    %relu = arith.maximumf %x, %zero : f64
    // gelu: x / 2 (1 + g), g the error function of x / sqrt(2) or a hyperbolic tangent.
    %xr = arith.mulf %x, %root : f64
    %erf = math.erf %xr : f64
    %xx = arith.mulf %x, %x : f64
    %xxx = arith.mulf %xx, %x : f64
    %cubic = arith.mulf %k1, %xxx : f64
    %inner = arith.addf %x, %cubic : f64
    %scaled = arith.mulf %k0, %inner : f64
    %tanh2 = math.tanh %scaled : f64
    %isErf = arith.cmpi eq, %f, %c1 : index
    %g = arith.select %isErf, %erf, %tanh2 : f64
    %g1 = arith.addf %one, %g : f64
    %hx = arith.mulf %half, %x : f64
    %gelu = arith.mulf %hx, %g1 : f64
    %less = arith.negf %x : f64
    %e = math.exp %less : f64
    %e1 = arith.addf %one, %e : f64
    %sigmoid = arith.divf %one, %e1 : f64
    %silu = arith.mulf %x, %sigmoid : f64
    %tanh = math.tanh %x : f64
    %is0 = arith.cmpi eq, %f, %c0 : index
    %is2 = arith.cmpi ule, %f, %c2 : index
    %is3 = arith.cmpi eq, %f, %c3 : index
    %is4 = arith.cmpi eq, %f, %c4 : index
    %is5 = arith.cmpi eq, %f, %c5 : index
    %y5 = arith.select %is5, %sigmoid, %x : f64
    %y4 = arith.select %is4, %tanh, %y5 : f64
    %y3 = arith.select %is3, %silu, %y4 : f64
    %y2 = arith.select %is2, %gelu, %y3 : f64
    %y = arith.select %is0, %relu, %y2 : f64
    tensor.yield %y : f64
  } : tensor<?x?xf64>
  return %r : tensor<?x?xf64>
}

// cos(2 pi k / n) for k below n.
func.func @cosines(%n: index) -> tensor<?xf64> {
  %r = tensor.generate %n {
  ^bb0(%k: index):
    %angle = func.call @turn(%k, %n) : (index, index) -> f64
    %x = math.cos %angle : f64
    tensor.yield %x : f64
  } : tensor<?xf64>
  return %r : tensor<?xf64>
}

// sin(2 pi k / n) for k below n.
func.func @sines(%n: index) -> tensor<?xf64> {
  %r = tensor.generate %n {
  ^bb0(%k: index):
    %angle = func.call @turn(%k, %n) : (index, index) -> f64
    %x = math.sin %angle : f64
    tensor.yield %x : f64
  } : tensor<?xf64>
  return %r : tensor<?xf64>
}

// 2 pi k / n.
func.func @turn(%k: index, %n: index) -> f64 {
  %circle = arith.constant 6.2831853071795865 : f64
  %k64 = arith.index_cast %k : index to i64
  %n64 = arith.index_cast %n : index to i64
  %kf = arith.sitofp %k64 : i64 to f64
  %nf = arith.sitofp %n64 : i64 to f64
  %part = arith.divf %kf, %nf : f64
  %angle = arith.mulf %circle, %part : f64
  return %angle : f64
}
