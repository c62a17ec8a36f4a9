// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The formulas of activations, once for nodes of a graph and for scalars of a loop.
#ifndef ADAPTER_LIB_SUPPORT_ACTIVATIONS_H
#define ADAPTER_LIB_SUPPORT_ACTIVATIONS_H

#include "lib/Checkpoint/Activation.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include <cmath>

namespace adapter {

/// An activation of x in some arithmetic, which has
///
///   add(x, y), mul(x, y), times(x, 2.0), plus(x, 2.0), clipped(x, low, high), relu(x), leakyRelu(x, slope), sigmoid(x), tanh(x),
///   erf(x), softplus(x)
///
template <typename Arithmetic, typename Value>
Value activation(Arithmetic &a, checkpoint::Activation function, Value x) {
  using checkpoint::Activation;
  // From 0 to 1 with the normal distribution.
  auto bell = [&](double mean, double deviation) {
    Value distance = mean == 0.0 ? x : a.plus(x, -mean);
    return a.times(a.plus(a.erf(a.times(distance, 1.0 / (deviation * std::sqrt(2.0)))), 1.0), 0.5);
  };
  switch (function) {
  case Activation::Identity:
    return x;
  case Activation::Relu:
    return a.relu(x);
  case Activation::LeakyRelu:
    return a.leakyRelu(x, 0.01);
  case Activation::Relu2: {
    Value positive = a.relu(x);
    return a.mul(positive, positive);
  }
  case Activation::Relu6:
    return a.clipped(x, 0.0, 6.0);
  case Activation::Gelu:
    return a.mul(x, bell(0.0, 1.0));
  case Activation::GeluTanh: {
    Value cube = a.mul(a.mul(x, x), x), half = a.times(x, 0.5);
    Value inner = a.times(a.add(x, a.times(cube, 0.044715)), std::sqrt(2.0 / M_PI));
    return a.mul(half, a.plus(a.tanh(inner), 1.0));
  }
  case Activation::Gelu10:
    return a.clipped(a.mul(x, bell(0.0, 1.0)), -10.0, 10.0);
  case Activation::Silu:
    return a.mul(x, a.sigmoid(x));
  case Activation::QuickGelu:
    return a.mul(x, a.sigmoid(a.times(x, 1.702)));
  case Activation::Mish:
    return a.mul(x, a.tanh(a.softplus(x)));
  case Activation::Sigmoid:
    return a.sigmoid(x);
  case Activation::Tanh:
    return a.tanh(x);
  case Activation::Laplace:
    return bell(0.707107, 0.282095);
  }
  return x;
}

/// Scalars of one floating-point type.
class ScalarArithmetic {
public:
  using Value = mlir::Value;
  explicit ScalarArithmetic(mlir::ImplicitLocOpBuilder &b) : b(b) {}

  Value add(Value x, Value y);
  Value mul(Value x, Value y);
  Value plus(Value x, double y) { return add(x, number(x, y)); }
  Value times(Value x, double y) { return mul(x, number(x, y)); }
  Value clipped(Value x, double low, double high);
  Value relu(Value x);
  Value leakyRelu(Value x, double slope);
  Value sigmoid(Value x);
  Value tanh(Value x);
  Value erf(Value x);
  Value softplus(Value x); ///< without overflow

private:
  Value number(Value like, double value);

  mlir::ImplicitLocOpBuilder &b;
};

/// An activation of a scalar.
mlir::Value activate(mlir::ImplicitLocOpBuilder &b, checkpoint::Activation function, mlir::Value x);

} // namespace adapter

#endif // ADAPTER_LIB_SUPPORT_ACTIVATIONS_H
