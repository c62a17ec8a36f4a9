// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Scalar arithmetic over floats, integers and indices alike, as bodies of elementwise lowerings use it.
#ifndef ADAPTER_LIB_CONVERSION_ONNXTOLINALG_SCALARS_H
#define ADAPTER_LIB_CONVERSION_ONNXTOLINALG_SCALARS_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace adapter::scalars {

using B = mlir::ImplicitLocOpBuilder;
using mlir::Type;
using mlir::Value;

inline bool isFloat(Value x) { return mlir::isa<mlir::FloatType>(x.getType()); }

/// A constant of the type of `like`.
inline Value constant(B &b, Type type, double number) {
  if (auto floating = mlir::dyn_cast<mlir::FloatType>(type))
    return mlir::arith::ConstantOp::create(b, b.getFloatAttr(floating, number));
  return mlir::arith::ConstantOp::create(b, b.getIntegerAttr(type, static_cast<int64_t>(number)));
}

// Products and sums may contract to a fused multiply-add; sums of reductions may also be reordered.
inline mlir::arith::FastMathFlagsAttr contract(B &b) {
  return mlir::arith::FastMathFlagsAttr::get(b.getContext(), mlir::arith::FastMathFlags::contract);
}
inline mlir::arith::FastMathFlagsAttr reassociate(B &b) {
  return mlir::arith::FastMathFlagsAttr::get(b.getContext(), mlir::arith::FastMathFlags::contract |
                                                                 mlir::arith::FastMathFlags::reassoc);
}

template <typename FloatOp, typename IntOp>
Value binary(B &b, Value x, Value y) {
  if (isFloat(x))
    return FloatOp::create(b, x, y);
  return IntOp::create(b, x, y);
}

inline Value add(B &b, Value x, Value y) { return binary<mlir::arith::AddFOp, mlir::arith::AddIOp>(b, x, y); }
inline Value sub(B &b, Value x, Value y) { return binary<mlir::arith::SubFOp, mlir::arith::SubIOp>(b, x, y); }
inline Value mul(B &b, Value x, Value y) { return binary<mlir::arith::MulFOp, mlir::arith::MulIOp>(b, x, y); }

/// Sum in a reduction: the order is free.
inline Value accumulate(B &b, Value x, Value y) {
  if (isFloat(x))
    return mlir::arith::AddFOp::create(b, x, y, reassociate(b));
  return mlir::arith::AddIOp::create(b, x, y);
}

inline Value maximum(B &b, Value x, Value y, bool isUnsigned) {
  if (isFloat(x))
    return mlir::arith::MaximumFOp::create(b, x, y);
  if (isUnsigned || x.getType().isInteger(1))
    return mlir::arith::MaxUIOp::create(b, x, y);
  return mlir::arith::MaxSIOp::create(b, x, y);
}

inline Value minimum(B &b, Value x, Value y, bool isUnsigned) {
  if (isFloat(x))
    return mlir::arith::MinimumFOp::create(b, x, y);
  if (isUnsigned || x.getType().isInteger(1))
    return mlir::arith::MinUIOp::create(b, x, y);
  return mlir::arith::MinSIOp::create(b, x, y);
}

/// Comparison by one of each kind's predicates.
inline Value compare(B &b, Value x, Value y, mlir::arith::CmpFPredicate f, mlir::arith::CmpIPredicate s,
                     mlir::arith::CmpIPredicate u, bool isUnsigned) {
  if (isFloat(x))
    return mlir::arith::CmpFOp::create(b, f, x, y);
  return mlir::arith::CmpIOp::create(b, isUnsigned ? u : s, x, y);
}

/// Integer or float division as ONNX has it; a zero divisor of integers gives the dividend, not a trap.
Value divide(B &b, Value x, Value y, bool isUnsigned);
/// ONNX Cast of one scalar.
Value cast(B &b, Value x, Type to, bool fromUnsigned, bool toUnsigned);

} // namespace adapter::scalars

#endif // ADAPTER_LIB_CONVERSION_ONNXTOLINALG_SCALARS_H
