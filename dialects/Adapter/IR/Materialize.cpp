// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What updates made from tensors do to a weight, as linalg on tensors of f64. Loops run over the weight in
// the order in which it is stored, the last dimension innermost, so that they become vector loops whatever
// way the exporter laid the weight out.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "dialects/Adapter/IR/MaterializeUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"

using namespace mlir;
using namespace adapter;

UpdateTarget UpdateTarget::of(Value weight) {
  int64_t rank = cast<RankedTensorType>(weight.getType()).getRank();
  return {weight, AffineMap::getMultiDimIdentityMap(rank, weight.getContext()), Value()};
}

Value adapter::toF64(OpBuilder &builder, Location loc, Value scalar) {
  if (scalar.getType().isF64())
    return scalar;
  return arith::ExtFOp::create(builder, loc, builder.getF64Type(), scalar);
}

Value adapter::mapWeight(ImplicitLocOpBuilder &b, Value weight, ValueRange inputs, ArrayRef<AffineMap> maps,
                         MapBody body) {
  // The weight is an input as well as what is written: upstream's fusion takes a payload that reads its
  // output for one that may be repeated.
  auto type = cast<RankedTensorType>(weight.getType());
  SmallVector<AffineMap> all(maps);
  all.append(2, b.getMultiDimIdentityMap(type.getRank()));
  SmallVector<Value> operands(inputs);
  operands.push_back(weight);
  SmallVector<utils::IteratorType> iterators(type.getRank(), utils::IteratorType::parallel);
  auto generic = linalg::GenericOp::create(b, type, operands, weight, all, iterators,
                                           [&](OpBuilder &inner, Location loc, ValueRange arguments) {
                                             SmallVector<Value> wide;
                                             for (Value argument : arguments.drop_back())
                                               wide.push_back(toF64(inner, loc, argument));
                                             linalg::YieldOp::create(inner, loc, body(inner, loc, wide));
                                           });
  return generic.getResult(0);
}

Value adapter::interpolate(OpBuilder &builder, Location loc, Value from, Value to, Value factor) {
  if (!factor)
    return to;
  Value way = arith::MulFOp::create(builder, loc, arith::SubFOp::create(builder, loc, to, from), factor);
  return arith::AddFOp::create(builder, loc, from, way);
}

//===----------------------------------------------------------------------===//
// adapter.low_rank
//===----------------------------------------------------------------------===//

bool LowRankOp::isAdditive() { return true; }

Value LowRankOp::materialize(ImplicitLocOpBuilder &b, UpdateTarget target) {
  // Loops: the weight's dimensions in order, the rank before the last one.
  int64_t rank = target.rank();
  auto loop = [&](unsigned updateDim) {
    unsigned dim = target.weightDim(updateDim);
    return b.getAffineDimExpr(dim + 1 == rank ? rank : dim);
  };
  AffineExpr middle = b.getAffineDimExpr(rank - 1);
  SmallVector<AffineExpr> a = {middle}, weight;
  for (int64_t i = 1; i < rank; ++i)
    a.push_back(loop(i));
  for (int64_t i = 0; i < rank; ++i)
    weight.push_back(b.getAffineDimExpr(i + 1 == rank ? rank : i));
  MLIRContext *context = getContext();
  SmallVector<AffineMap> maps = {AffineMap::get(rank + 1, 0, a, context),
                                 AffineMap::get(rank + 1, 0, {loop(0), middle}, context)};
  SmallVector<Value> inputs = {getA(), getB()};
  if (getMiddle()) {
    maps.push_back(AffineMap::get(rank + 1, 0, middle));
    inputs.push_back(getMiddle());
  }
  maps.push_back(AffineMap::get(rank + 1, 0, weight, context));
  SmallVector<utils::IteratorType> iterators(rank + 1, utils::IteratorType::parallel);
  iterators[rank - 1] = utils::IteratorType::reduction;
  auto generic = linalg::GenericOp::create(
      b, target.weight.getType(), inputs, target.weight, maps, iterators,
      [&](OpBuilder &inner, Location loc, ValueRange arguments) {
        Value product = toF64(inner, loc, arguments[1]);
        if (target.factor)
          product = arith::MulFOp::create(inner, loc, product, target.factor);
        if (getMiddle())
          product = arith::MulFOp::create(inner, loc, product, toF64(inner, loc, arguments[2]));
        product = arith::MulFOp::create(inner, loc, product, toF64(inner, loc, arguments[0]));
        linalg::YieldOp::create(inner, loc,
                                arith::AddFOp::create(inner, loc, arguments.back(), product).getResult());
      });
  return generic.getResult(0);
}

//===----------------------------------------------------------------------===//
// adapter.dense and adapter.replace
//===----------------------------------------------------------------------===//

bool DenseOp::isAdditive() { return true; }

Value DenseOp::materialize(ImplicitLocOpBuilder &b, UpdateTarget target) {
  return mapWeight(b, target.weight, getValue(), target.layout,
                   [&](OpBuilder &inner, Location loc, ValueRange arguments) -> Value {
                     Value value = arguments[0];
                     if (target.factor)
                       value = arith::MulFOp::create(inner, loc, value, target.factor);
                     return arith::AddFOp::create(inner, loc, arguments[1], value);
                   });
}

bool ReplaceOp::needsWeight() { return false; }

Value ReplaceOp::materialize(ImplicitLocOpBuilder &b, UpdateTarget target) {
  return mapWeight(b, target.weight, getValue(), target.layout,
                   [&](OpBuilder &inner, Location loc, ValueRange arguments) {
                     return interpolate(inner, loc, arguments[1], arguments[0], target.factor);
                   });
}
