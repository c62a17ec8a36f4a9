// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What updates made from updates do to a weight.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "dialects/Adapter/IR/MaterializeUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace adapter;

static UpdateOpInterface definingUpdate(Value update) { return update.getDefiningOp<UpdateOpInterface>(); }

static bool isAdditiveUpdate(Value update) {
  UpdateOpInterface op = definingUpdate(update);
  return op && op.isAdditive();
}

static bool updateNeedsWeight(Value update) {
  UpdateOpInterface op = definingUpdate(update);
  return !op || op.needsWeight();
}

// Null where the update comes from outside or is known at run time only.
static Value materializeUpdate(ImplicitLocOpBuilder &b, Value update, UpdateTarget target) {
  UpdateOpInterface op = definingUpdate(update);
  return op && target.weight ? op.materialize(b, target) : Value();
}

// `to` applied by `factor` only; both are weights.
static Value interpolateWeights(ImplicitLocOpBuilder &b, Value from, Value to, Value factor) {
  if (!factor || !to)
    return to;
  AffineMap identity = b.getMultiDimIdentityMap(cast<RankedTensorType>(from.getType()).getRank());
  return mapWeight(b, from, to, identity, [&](OpBuilder &inner, Location loc, ValueRange arguments) {
    return interpolate(inner, loc, arguments[1], arguments[0], factor);
  });
}

//===----------------------------------------------------------------------===//
// adapter.scale, adapter.sum, adapter.compose
//===----------------------------------------------------------------------===//

bool ScaleOp::isAdditive() { return isAdditiveUpdate(getSource()); }

Value ScaleOp::materialize(ImplicitLocOpBuilder &b, UpdateTarget target) {
  target.factor =
      target.factor ? arith::MulFOp::create(b, target.factor, getFactor()).getResult() : getFactor();
  return materializeUpdate(b, getSource(), target);
}

// It takes no others.
bool SumOp::isAdditive() { return true; }

Value SumOp::materialize(ImplicitLocOpBuilder &b, UpdateTarget target) {
  for (Value source : getSources())
    target.weight = materializeUpdate(b, source, target);
  return target.weight;
}

bool ComposeOp::isAdditive() { return llvm::all_of(getSources(), isAdditiveUpdate); }
bool ComposeOp::needsWeight() { return llvm::all_of(getSources(), updateNeedsWeight); }

Value ComposeOp::materialize(ImplicitLocOpBuilder &b, UpdateTarget target) {
  UpdateTarget whole = target;
  whole.factor = Value();
  for (Value source : getSources())
    whole.weight = materializeUpdate(b, source, whole);
  return interpolateWeights(b, target.weight, whole.weight, target.factor);
}

//===----------------------------------------------------------------------===//
// adapter.magnitude
//===----------------------------------------------------------------------===//

// The sums of squares along one dimension of the weight.
static Value sumSquares(ImplicitLocOpBuilder &b, Value weight, unsigned dim) {
  auto type = cast<RankedTensorType>(weight.getType());
  SmallVector<OpFoldResult> size = {tensor::getMixedSize(b, b.getLoc(), weight, dim)};
  Value empty = tensor::EmptyOp::create(b, size, b.getF64Type());
  Value zero = arith::ConstantOp::create(b, b.getF64FloatAttr(0.0));
  Value init = linalg::FillOp::create(b, zero, empty).getResult(0);
  SmallVector<utils::IteratorType> iterators(type.getRank(), utils::IteratorType::reduction);
  iterators[dim] = utils::IteratorType::parallel;
  SmallVector<AffineMap> maps = {b.getMultiDimIdentityMap(type.getRank()),
                                 AffineMap::get(type.getRank(), 0, b.getAffineDimExpr(dim))};
  auto generic = linalg::GenericOp::create(
      b, init.getType(), weight, init, maps, iterators,
      [](OpBuilder &inner, Location loc, ValueRange arguments) {
        Value square = arith::MulFOp::create(inner, loc, arguments[0], arguments[0]);
        linalg::YieldOp::create(inner, loc,
                                arith::AddFOp::create(inner, loc, arguments[1], square).getResult());
      });
  return generic.getResult(0);
}

Value MagnitudeOp::materialize(ImplicitLocOpBuilder &b, UpdateTarget target) {
  UpdateTarget whole = target;
  whole.factor = Value();
  Value moved = materializeUpdate(b, getSource(), whole);
  if (!moved)
    return {};
  unsigned dim = target.weightDim(getAxis());
  Value gain = mapWeight(b, sumSquares(b, moved, dim), getMagnitude(), b.getMultiDimIdentityMap(1),
                         [](OpBuilder &inner, Location loc, ValueRange arguments) -> Value {
                           Value length = math::SqrtOp::create(inner, loc, arguments[1]);
                           return arith::DivFOp::create(inner, loc, arguments[0], length);
                         });
  AffineMap along = AffineMap::get(target.rank(), 0, b.getAffineDimExpr(dim));
  Value result =
      mapWeight(b, moved, gain, along, [](OpBuilder &inner, Location loc, ValueRange arguments) -> Value {
        return arith::MulFOp::create(inner, loc, arguments[1], arguments[0]);
      });
  return interpolateWeights(b, target.weight, result, target.factor);
}

//===----------------------------------------------------------------------===//
// adapter.transpose and adapter.place
//===----------------------------------------------------------------------===//

bool TransposeOp::isAdditive() { return isAdditiveUpdate(getSource()); }
bool TransposeOp::needsWeight() { return updateNeedsWeight(getSource()); }

Value TransposeOp::materialize(ImplicitLocOpBuilder &b, UpdateTarget target) {
  SmallVector<AffineExpr> results(target.rank());
  for (auto [i, dim] : llvm::enumerate(getPermutation()))
    results[dim] = target.layout.getResult(i);
  target.layout = AffineMap::get(target.rank(), 0, results, getContext());
  return materializeUpdate(b, getSource(), target);
}

// The size of the part stands in the type alone.
bool PlaceOp::sizesMatter() { return true; }

bool PlaceOp::isAdditive() { return isAdditiveUpdate(getSource()); }

Value PlaceOp::materialize(ImplicitLocOpBuilder &b, UpdateTarget target) {
  unsigned dim = target.weightDim(getAxis());
  int64_t part = getSource().getType().getWeight().getDimSize(getAxis());
  if (ShapedType::isDynamic(part))
    return {};
  SmallVector<OpFoldResult> offsets(target.rank(), b.getIndexAttr(0)),
      strides(target.rank(), b.getIndexAttr(1));
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, b.getLoc(), target.weight);
  offsets[dim] = b.getIndexAttr(getOffset());
  sizes[dim] = b.getIndexAttr(part);
  UpdateTarget slice = target;
  slice.weight = tensor::ExtractSliceOp::create(b, target.weight, offsets, sizes, strides);
  Value updated = materializeUpdate(b, getSource(), slice);
  if (!updated)
    return {};
  return tensor::InsertSliceOp::create(b, updated, target.weight, offsets, sizes, strides);
}

//===----------------------------------------------------------------------===//
// adapter.reshape
//===----------------------------------------------------------------------===//

bool ReshapeOp::isAdditive() { return isAdditiveUpdate(getSource()); }
bool ReshapeOp::needsWeight() { return updateNeedsWeight(getSource()); }

// How the dimensions of a weight of `rank` are joined: the first and the rest, or all.
static SmallVector<ReassociationIndices> joined(int64_t rank, bool vector) {
  SmallVector<ReassociationIndices> groups(vector ? 1 : 2);
  for (int64_t dim = 0; dim < rank; ++dim)
    groups[vector || dim == 0 ? 0 : 1].push_back(dim);
  return groups;
}

static RankedTensorType anyF64(ImplicitLocOpBuilder &b, int64_t rank) {
  return RankedTensorType::get(SmallVector<int64_t>(rank, ShapedType::kDynamic), b.getF64Type());
}

Value ReshapeOp::materialize(ImplicitLocOpBuilder &b, UpdateTarget target) {
  int64_t rank = target.rank();
  if (!target.layout.isIdentity() || !target.weight)
    return {};
  Value one = arith::ConstantIndexOp::create(b, 1);
  Value any = tensor::CastOp::create(b, anyF64(b, rank), target.weight);
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(b, b.getLoc(), any);
  SmallVector<ReassociationIndices> groups = joined(rank, getVector());
  UpdateTarget seen = target;
  seen.layout = b.getMultiDimIdentityMap(2);
  seen.weight =
      rank == static_cast<int64_t>(groups.size()) ? any : tensor::CollapseShapeOp::create(b, any, groups);
  if (getVector()) {
    SmallVector<OpFoldResult> matrix{b.createOrFold<tensor::DimOp>(seen.weight, 0), one};
    seen.weight = tensor::ExpandShapeOp::create(b, anyF64(b, 2), seen.weight, joined(2, true), matrix);
  }
  Value updated = materializeUpdate(b, getSource(), seen);
  if (!updated)
    return {};
  updated = tensor::CastOp::create(b, anyF64(b, 2), updated);
  if (getVector())
    updated = tensor::CollapseShapeOp::create(b, updated, joined(2, true));
  if (rank != static_cast<int64_t>(groups.size()))
    updated = tensor::ExpandShapeOp::create(b, anyF64(b, rank), updated, groups, sizes);
  return b.createOrFold<tensor::CastOp>(target.weight.getType(), updated);
}
