// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What maps make of weights: adapter.add, adapter.left, adapter.right.
#include "dialects/Adapter/IR/FormInstance.h"
#include "dialects/Adapter/IR/MapUtils.h"
#include "dialects/Adapter/IR/MaterializeUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

UpdateType adapter::viewUpdateType(MLIRContext *context) {
  return UpdateType::get(context, RankedTensorType::get({ShapedType::kDynamic, ShapedType::kDynamic},
                                                        Float64Type::get(context)));
}

//===----------------------------------------------------------------------===//
// Products of maps
//===----------------------------------------------------------------------===//

SmallVector<MapFactor> adapter::factorsOf(Value map, bool adjoint) {
  if (auto chain = map.getDefiningOp<ChainOp>()) {
    SmallVector<MapFactor> factors;
    SmallVector<Value> order(chain.getMaps());
    if (adjoint)
      std::reverse(order.begin(), order.end());
    for (Value each : order)
      llvm::append_range(factors, factorsOf(each, adjoint));
    return factors;
  }
  if (auto turned = map.getDefiningOp<AdjointOp>())
    return factorsOf(turned.getSource(), !adjoint);
  if (map.getDefiningOp<IdentityOp>())
    return {};
  return {{definingMap(map), adjoint}};
}

SmallVector<SmallVector<MapFactor>> adapter::termsOf(Value map) {
  SmallVector<SmallVector<MapFactor>> terms;
  auto plus = map.getDefiningOp<PlusOp>();
  if (!plus)
    return {factorsOf(map)};
  for (Value each : plus.getMaps())
    llvm::append_range(terms, termsOf(each));
  return terms;
}

static Value matrixOf(B &b, const MapFactor &factor) {
  Value tensor = cast<MatrixOp>(*factor.map).getTensor();
  return factor.adjoint ? transposedMatrix(b, tensor) : tensor;
}

static Value identityMatrix(B &b, Value size) {
  Value empty = zeroTensor(b, {size, size});
  SmallVector<utils::IteratorType> iterators(2, utils::IteratorType::parallel);
  auto generic = linalg::GenericOp::create(
      b, empty.getType(), ValueRange(), empty, b.getMultiDimIdentityMap(2), iterators,
      [](OpBuilder &inner, Location loc, ValueRange) {
        Value i = linalg::IndexOp::create(inner, loc, 0), j = linalg::IndexOp::create(inner, loc, 1);
        Value equal = arith::CmpIOp::create(inner, loc, arith::CmpIPredicate::eq, i, j);
        linalg::YieldOp::create(inner, loc,
                                arith::UIToFPOp::create(inner, loc, inner.getF64Type(), equal).getResult());
      });
  return generic.getResult(0);
}

DenseFactors adapter::denseFactors(B &b, ArrayRef<MapFactor> factors, Value columns) {
  auto isMatrix = [](const MapFactor &factor) { return isa<MatrixOp>(*factor.map); };
  auto *first = llvm::find_if(factors, isMatrix);
  if (first == factors.end()) {
    Value dense = identityMatrix(b, columns);
    for (const MapFactor &factor : llvm::reverse(factors))
      dense = const_cast<MapOpInterface &>(factor.map).apply(b, dense, 0, factor.adjoint);
    return {Value(), dense};
  }
  auto *last = std::prev(factors.end());
  while (!isMatrix(*last))
    --last;
  auto applyTo = [&](Value x, unsigned axis, const MapFactor &factor) {
    return const_cast<MapOpInterface &>(factor.map)
        .apply(b, x, axis, axis ? !factor.adjoint : factor.adjoint);
  };
  Value inner = matrixOf(b, *last);
  for (auto *factor = std::next(last); factor != factors.end(); ++factor)
    inner = applyTo(inner, 1, *factor);
  for (auto *factor = last; factor != first && --factor != first;)
    inner = applyTo(inner, 0, *factor);
  Value outer = first == last ? inner : matrixOf(b, *first);
  for (auto *factor = first; factor != factors.begin();)
    outer = applyTo(outer, 0, *--factor);
  return first == last ? DenseFactors{Value(), outer} : DenseFactors{outer, inner};
}

//===----------------------------------------------------------------------===//
// adapter.add
//===----------------------------------------------------------------------===//

bool AddOp::isAdditive() { return true; }

// Of an update that is one map of few elements and no more.
static GatherOp gatherOf(Value map, bool &adjoint) {
  SmallVector<MapFactor> factors = factorsOf(map);
  if (factors.size() != 1)
    return {};
  adjoint = factors[0].adjoint;
  return dyn_cast<GatherOp>(*factors[0].map);
}

Value AddOp::forEachTouched(B &b, ValueRange, Value factor, Value carried, TouchBody body) {
  bool adjoint = false;
  GatherOp gather = gatherOf(getMap(), adjoint);
  if (!gather)
    return {};
  Value zero = arith::ConstantIndexOp::create(b, 0), one = arith::ConstantIndexOp::create(b, 1);
  Value count = b.createOrFold<tensor::DimOp>(gather.getValues(), 0);
  auto loop = scf::ForOp::create(b, zero, count, one, carried);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  Value k = loop.getInductionVar();
  SmallVector<Value> element;
  for (int64_t row : {0, 1}) {
    Value at =
        tensor::ExtractOp::create(b, gather.getPlaces(), ValueRange{(row == 1) != adjoint ? one : zero, k});
    element.push_back(arith::IndexCastOp::create(b, b.getIndexType(), at));
  }
  Value step = tensor::ExtractOp::create(b, gather.getValues(), k);
  for (Value more : {factor, Value(getScale())})
    if (more)
      step = arith::MulFOp::create(b, step, more);
  auto update = [&](B &inner, Value old) -> Value { return arith::AddFOp::create(inner, old, step); };
  scf::YieldOp::create(b, body(b, element, loop.getRegionIterArg(0), update));
  return loop.getResult(0);
}

// weight + factor * outer inner, the sum over r before the weight's last dimension.
static Value addProduct(B &b, UpdateTarget target, Value outer, Value inner, Value factor) {
  AffineExpr r = b.getAffineDimExpr(1);
  auto loop = [&](unsigned updateDim) { return b.getAffineDimExpr(target.weightDim(updateDim) ? 2 : 0); };
  auto map = [&](AffineExpr i, AffineExpr j) { return AffineMap::get(3, 0, {i, j}, b.getContext()); };
  SmallVector<AffineMap> maps{map(loop(0), r), map(r, loop(1)),
                              map(b.getAffineDimExpr(0), b.getAffineDimExpr(2))};
  SmallVector<utils::IteratorType> iterators(3, utils::IteratorType::parallel);
  iterators[1] = utils::IteratorType::reduction;
  auto generic = linalg::GenericOp::create(
      b, target.weight.getType(), ValueRange{outer, inner}, target.weight, maps, iterators,
      [&](OpBuilder &at, Location loc, ValueRange arguments) {
        Value product = arguments[0];
        if (factor)
          product = arith::MulFOp::create(at, loc, product, factor);
        product = arith::MulFOp::create(at, loc, product, arguments[1]);
        linalg::YieldOp::create(at, loc, arith::AddFOp::create(at, loc, arguments[2], product).getResult());
      });
  return generic.getResult(0);
}

static Value addMatrix(B &b, UpdateTarget target, Value matrix, Value factor) {
  return mapWeight(b, target.weight, matrix, target.layout,
                   [&](OpBuilder &inner, Location loc, ValueRange arguments) -> Value {
                     Value value = arguments[0];
                     if (factor)
                       value = arith::MulFOp::create(inner, loc, value, factor);
                     return arith::AddFOp::create(inner, loc, arguments[1], value);
                   });
}

Value adapter::materializeTouched(B &b, UpdateOpInterface update, UpdateTarget target) {
  SmallVector<Value> sizes;
  for (int64_t i = 0; i < target.rank(); ++i)
    sizes.push_back(b.createOrFold<tensor::DimOp>(target.weight, target.weightDim(i)));
  return update.forEachTouched(
      b, sizes, target.factor, target.weight,
      [&](B &inner, ValueRange element, Value weight, ElementUpdate change) {
        SmallVector<Value> place(target.rank());
        for (int64_t i = 0; i < target.rank(); ++i)
          place[target.weightDim(i)] = element[i];
        Value old = tensor::ExtractOp::create(inner, weight, place);
        return tensor::InsertOp::create(inner, change(inner, old), weight, place).getResult();
      });
}

Value AddOp::materialize(B &b, UpdateTarget target) {
  bool adjoint = false;
  if (gatherOf(getMap(), adjoint))
    return materializeTouched(b, cast<UpdateOpInterface>(getOperation()), target);
  Value factor = getScale();
  if (target.factor)
    factor = factor ? arith::MulFOp::create(b, factor, target.factor).getResult() : target.factor;
  Value columns = b.createOrFold<tensor::DimOp>(target.weight, target.weightDim(1));
  for (ArrayRef<MapFactor> term : termsOf(getMap())) {
    DenseFactors dense = denseFactors(b, term, columns);
    target.weight = dense.outer ? addProduct(b, target, dense.outer, dense.inner, factor)
                                : addMatrix(b, target, dense.inner, factor);
  }
  return target.weight;
}

//===----------------------------------------------------------------------===//
// adapter.left and adapter.right
//===----------------------------------------------------------------------===//

static Value mapAlong(B &b, Value map, UpdateTarget target, unsigned updateDim, bool adjoint) {
  Value mapped = definingMap(map).apply(b, target.weight, target.weightDim(updateDim), adjoint);
  if (!target.factor)
    return mapped;
  return mapWeight(b, target.weight, mapped, b.getMultiDimIdentityMap(2),
                   [&](OpBuilder &inner, Location loc, ValueRange arguments) {
                     return interpolate(inner, loc, arguments[1], arguments[0], target.factor);
                   });
}

Value LeftOp::materialize(B &b, UpdateTarget target) { return mapAlong(b, getMap(), target, 0, false); }
Value RightOp::materialize(B &b, UpdateTarget target) { return mapAlong(b, getMap(), target, 1, true); }
