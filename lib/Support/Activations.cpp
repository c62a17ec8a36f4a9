// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Arithmetic of scalars; see Activations.h.
#include "lib/Support/Activations.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace adapter;

Value ScalarArithmetic::number(Value like, double value) {
  return arith::ConstantOp::create(b, b.getFloatAttr(cast<FloatType>(like.getType()), value));
}

Value ScalarArithmetic::add(Value x, Value y) { return arith::AddFOp::create(b, x, y); }
Value ScalarArithmetic::mul(Value x, Value y) { return arith::MulFOp::create(b, x, y); }

Value ScalarArithmetic::clipped(Value x, double low, double high) {
  return arith::MinimumFOp::create(b, arith::MaximumFOp::create(b, x, number(x, low)), number(x, high));
}

Value ScalarArithmetic::relu(Value x) { return arith::MaximumFOp::create(b, x, number(x, 0.0)); }

Value ScalarArithmetic::leakyRelu(Value x, double slope) {
  Value negative = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, x, number(x, 0.0));
  return arith::SelectOp::create(b, negative, times(x, slope), x);
}

Value ScalarArithmetic::sigmoid(Value x) {
  Value power = math::ExpOp::create(b, arith::NegFOp::create(b, x)), one = number(x, 1.0);
  return arith::DivFOp::create(b, one, add(one, power));
}

Value ScalarArithmetic::tanh(Value x) { return math::TanhOp::create(b, x); }
Value ScalarArithmetic::erf(Value x) { return math::ErfOp::create(b, x); }

// log(1 + e^x) = max(x, 0) + log1p(e^-|x|)
Value ScalarArithmetic::softplus(Value x) {
  Value decay = math::ExpOp::create(b, arith::NegFOp::create(b, math::AbsFOp::create(b, x)));
  return add(relu(x), math::Log1pOp::create(b, decay));
}

Value adapter::activate(ImplicitLocOpBuilder &b, checkpoint::Activation function, Value x) {
  ScalarArithmetic arithmetic(b);
  return activation(arithmetic, function, x);
}
