// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Division and casts of scalars.
#include "lib/Conversion/ONNXToLinalg/Scalars.h"

using namespace mlir;
using namespace adapter;

Value scalars::divide(B &b, Value x, Value y, bool isUnsigned) {
  if (isFloat(x))
    return arith::DivFOp::create(b, x, y);
  Value zero = constant(b, y.getType(), 0), one = constant(b, y.getType(), 1);
  Value isZero = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, y, zero);
  Value divisor = arith::SelectOp::create(b, isZero, one, y);
  if (isUnsigned)
    return arith::DivUIOp::create(b, x, divisor);
  // The smallest integer divided by -1 traps; negated, it stays what it is.
  if (APInt known; matchPattern(y, m_ConstantInt(&known)) && !known.isAllOnes())
    return arith::DivSIOp::create(b, x, divisor);
  Value minusOne = arith::ConstantOp::create(b, b.getIntegerAttr(y.getType(), -1));
  Value negates = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, y, minusOne);
  divisor = arith::SelectOp::create(b, negates, one, divisor);
  Value quotient = arith::DivSIOp::create(b, x, divisor);
  return arith::SelectOp::create(b, negates, sub(b, zero, quotient), quotient);
}

Value scalars::cast(B &b, Value x, Type to, bool fromUnsigned, bool toUnsigned) {
  Type from = x.getType();
  if (from == to)
    return x;
  if (to.isInteger(1)) {
    Value zero = constant(b, from, 0);
    if (isFloat(x)) // NaN is true
      return arith::CmpFOp::create(b, arith::CmpFPredicate::UNE, x, zero);
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, x, zero);
  }
  if (from.isIndex()) {
    // Integers that are known one by one stay indices.
    if (isa<IntegerType>(to))
      return x;
    x = arith::IndexCastOp::create(b, b.getI64Type(), x);
    from = x.getType();
  }
  bool extendUnsigned = fromUnsigned || from.isInteger(1);
  if (auto floating = dyn_cast<FloatType>(to)) {
    if (auto source = dyn_cast<FloatType>(from)) {
      if (source.getWidth() < floating.getWidth())
        return arith::ExtFOp::create(b, to, x);
      if (source.getWidth() > floating.getWidth())
        return arith::TruncFOp::create(b, to, x);
      // bf16 and f16: by way of f32.
      return arith::TruncFOp::create(b, to, arith::ExtFOp::create(b, b.getF32Type(), x));
    }
    if (extendUnsigned)
      return arith::UIToFPOp::create(b, to, x);
    return arith::SIToFPOp::create(b, to, x);
  }
  if (isa<FloatType>(from)) {
    if (toUnsigned)
      return arith::FPToUIOp::create(b, to, x);
    return arith::FPToSIOp::create(b, to, x);
  }
  unsigned have = from.getIntOrFloatBitWidth(), want = to.getIntOrFloatBitWidth();
  if (have > want)
    return arith::TruncIOp::create(b, to, x);
  if (have == want)
    return x;
  if (extendUnsigned)
    return arith::ExtUIOp::create(b, to, x);
  return arith::ExtSIOp::create(b, to, x);
}
