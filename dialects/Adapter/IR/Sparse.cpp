// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Updates of few elements: adapter.sparse, and how the ops that combine updates hand such updates on.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "dialects/Adapter/IR/MaterializeUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace adapter;

static ArrayRef<int64_t> shapeOf(Value value) { return cast<ShapedType>(value.getType()).getShape(); }

//===----------------------------------------------------------------------===//
// Verification
//===----------------------------------------------------------------------===//

// The shape of `indices` for `count` entries, and of `values`.
static std::pair<SmallVector<int64_t>, SmallVector<int64_t>>
sparseShapes(SparseSupport support, ArrayRef<int64_t> weight, ArrayRef<int64_t> values) {
  int64_t rank = weight.size(), dynamic = ShapedType::kDynamic;
  int64_t count = values.empty()                      ? dynamic
                  : support == SparseSupport::Columns ? values.back()
                                                      : values.front();
  switch (support) {
  case SparseSupport::Rows: {
    SmallVector<int64_t> rows(weight);
    rows.front() = count;
    return {{count}, rows};
  }
  case SparseSupport::Columns:
    return {{count}, {weight.front(), count}};
  case SparseSupport::Coordinates:
    return {{rank, count}, {count}};
  case SparseSupport::Blocks:
    return {{2, count}, {count, dynamic, dynamic}};
  case SparseSupport::Bitmask: {
    int64_t elements = 1;
    for (int64_t dim : weight)
      elements = ShapedType::isDynamic(dim) || ShapedType::isDynamic(elements) ? dynamic : elements * dim;
    return {{ShapedType::isDynamic(elements) ? dynamic : (elements + 7) / 8}, {count}};
  }
  }
  llvm_unreachable("all supports are handled");
}

LogicalResult SparseOp::verify() {
  ArrayRef<int64_t> values = shapeOf(getValues()), weight = getUpdateType().getWeight().getShape();
  if (!isa<FloatType>(getElementTypeOrSelf(getValues().getType())))
    return emitOpError("needs values of floats; got ") << getValues().getType();
  bool matrix = getSupport() == SparseSupport::Columns || getSupport() == SparseSupport::Blocks;
  if (weight.empty() || (matrix && weight.size() != 2))
    return emitOpError("with ") << stringifySparseSupport(getSupport()) << " is no update of "
                                << getUpdateType().getWeight();
  auto [indexShape, valueShape] = sparseShapes(getSupport(), weight, values);
  unsigned width = getSupport() == SparseSupport::Bitmask ? 8 : 64;
  if (!getElementTypeOrSelf(getIndices().getType()).isSignlessInteger(width) ||
      !shapesAgree(shapeOf(getIndices()), indexShape))
    return emitOpError("needs i") << width << " indices of [" << indexShape << "]; got "
                                  << getIndices().getType();
  if (!shapesAgree(values, valueShape))
    return emitOpError("needs values of [") << valueShape << "]; got " << getValues().getType();
  if (getSupport() == SparseSupport::Blocks)
    for (auto [block, dim] : llvm::zip(values.drop_front(), weight))
      if (ShapedType::isDynamic(block) || block == 0 || (!ShapedType::isDynamic(dim) && dim % block))
        return emitOpError("needs blocks of a fixed size that divides ") << getUpdateType().getWeight();
  return success();
}

//===----------------------------------------------------------------------===//
// Loops over what changes
//===----------------------------------------------------------------------===//

namespace {
// Emits one body within loops, carrying one tensor through them.
struct Touch {
  ImplicitLocOpBuilder &b;
  SparseOp op;
  Value factor;
  TouchBody body;

  Value index(int64_t value) { return arith::ConstantIndexOp::create(b, value); }
  Value load(Value from, ValueRange at) { return tensor::ExtractOp::create(b, from, at); }
  Value loadIndex(ValueRange at) {
    return arith::IndexCastOp::create(b, b.getIndexType(), load(op.getIndices(), at));
  }

  Value emit(ValueRange element, ValueRange value, Value carried) {
    Value stored = toF64(b, b.getLoc(), load(op.getValues(), value));
    auto update = [&](ImplicitLocOpBuilder &inner, Value old) -> Value {
      if (op.getMode() == SparseMode::Overwrite)
        return interpolate(inner, inner.getLoc(), old, stored, factor);
      Value step = factor ? Value(arith::MulFOp::create(inner, stored, factor)) : stored;
      return arith::AddFOp::create(inner, old, step);
    };
    return body(b, element, carried, update);
  }

  using Innermost = function_ref<Value(ValueRange ivs, Value carried)>;
  Value loops(ArrayRef<Value> sizes, Value carried, Innermost innermost) {
    SmallVector<Value> ivs;
    return nest(sizes, ivs, carried, innermost);
  }
  Value nest(ArrayRef<Value> sizes, SmallVector<Value> &ivs, Value carried, Innermost innermost) {
    if (sizes.empty())
      return innermost(ivs, carried);
    auto loop = scf::ForOp::create(b, index(0), sizes.front(), index(1), carried);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    ivs.push_back(loop.getInductionVar());
    scf::YieldOp::create(b, nest(sizes.drop_front(), ivs, loop.getRegionIterArg(0), innermost));
    ivs.pop_back();
    return loop.getResult(0);
  }

  Value bitmask(ArrayRef<Value> weightSizes, Value carried);
};
} // namespace

// Every element of the weight is looked at, but only those in the mask are touched.
Value Touch::bitmask(ArrayRef<Value> weightSizes, Value carried) {
  Value elements = index(1);
  for (Value size : weightSizes)
    elements = arith::MulIOp::create(b, elements, size);
  auto loop = scf::ForOp::create(b, index(0), elements, index(1), ValueRange{carried, index(0)});
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  Value at = loop.getInductionVar(), count = loop.getRegionIterArg(1);
  Value byte = load(op.getIndices(), ValueRange{arith::DivUIOp::create(b, at, index(8))});
  Value bit = arith::IndexCastOp::create(b, b.getI8Type(), arith::RemUIOp::create(b, at, index(8)));
  Value shifted = arith::ShRUIOp::create(b, byte, bit);
  Value isSet = arith::TruncIOp::create(b, b.getI1Type(), shifted);
  auto branch = scf::IfOp::create(b, loop.getResultTypes(), isSet, /*withElse=*/true);
  scf::YieldOp::create(b, branch.getResults());
  b.setInsertionPointToStart(branch.elseBlock());
  scf::YieldOp::create(b, loop.getRegionIterArgs());
  b.setInsertionPointToStart(branch.thenBlock());
  SmallVector<Value> element(weightSizes.size());
  Value rest = at;
  for (int64_t d = weightSizes.size() - 1; d >= 0; --d) {
    element[d] = arith::RemUIOp::create(b, rest, weightSizes[d]);
    rest = arith::DivUIOp::create(b, rest, weightSizes[d]);
  }
  Value next = emit(element, count, loop.getRegionIterArg(0));
  scf::YieldOp::create(b, ValueRange{next, arith::AddIOp::create(b, count, index(1))});
  return loop.getResult(0);
}

Value SparseOp::forEachTouched(ImplicitLocOpBuilder &b, ValueRange weightSizes, Value factor, Value carried,
                               TouchBody body) {
  Touch touch{b, *this, factor, body};
  if (getSupport() == SparseSupport::Bitmask)
    return touch.bitmask(llvm::to_vector(weightSizes), carried);
  SmallVector<Value> sizes;
  for (int64_t i = 0, rank = shapeOf(getValues()).size(); i < rank; ++i)
    sizes.push_back(b.createOrFold<tensor::DimOp>(getValues(), i));
  return touch.loops(sizes, carried, [&](ValueRange ivs, Value inner) {
    SmallVector<Value> element;
    switch (getSupport()) {
    case SparseSupport::Rows:
      element.push_back(touch.loadIndex(ivs.front()));
      llvm::append_range(element, ivs.drop_front());
      break;
    case SparseSupport::Columns:
      element = {ivs[0], touch.loadIndex(ivs[1])};
      break;
    case SparseSupport::Blocks:
      for (int64_t d = 0; d < 2; ++d) {
        Value first = touch.loadIndex({touch.index(d), ivs[0]});
        first = arith::MulIOp::create(b, first, touch.index(shapeOf(getValues())[d + 1]));
        element.push_back(arith::AddIOp::create(b, first, ivs[d + 1]));
      }
      break;
    default: // coordinates; a bitmask does not come here
      for (int64_t d = 0, rank = weightSizes.size(); d < rank; ++d)
        element.push_back(touch.loadIndex({touch.index(d), ivs[0]}));
    }
    return touch.emit(element, ivs, inner);
  });
}

// The size of a block stands in the type alone.
bool SparseOp::sizesMatter() { return getSupport() == SparseSupport::Blocks; }

bool SparseOp::isAdditive() { return getMode() == SparseMode::Add; }

Value SparseOp::materialize(ImplicitLocOpBuilder &b, UpdateTarget target) {
  return materializeTouched(b, cast<UpdateOpInterface>(getOperation()), target);
}

//===----------------------------------------------------------------------===//
// Updates made from updates
//===----------------------------------------------------------------------===//

static Value forward(ImplicitLocOpBuilder &b, Value update, ValueRange sizes, Value factor, Value carried,
                     TouchBody body) {
  auto op = update.getDefiningOp<UpdateOpInterface>();
  return op && carried ? op.forEachTouched(b, sizes, factor, carried, body) : Value();
}

Value ScaleOp::forEachTouched(ImplicitLocOpBuilder &b, ValueRange sizes, Value factor, Value carried,
                              TouchBody body) {
  Value product = factor ? arith::MulFOp::create(b, factor, getFactor()).getResult() : getFactor();
  return forward(b, getSource(), sizes, product, carried, body);
}

Value SumOp::forEachTouched(ImplicitLocOpBuilder &b, ValueRange sizes, Value factor, Value carried,
                            TouchBody body) {
  for (Value source : getSources())
    carried = forward(b, source, sizes, factor, carried, body);
  return carried;
}

Value TransposeOp::forEachTouched(ImplicitLocOpBuilder &b, ValueRange sizes, Value factor, Value carried,
                                  TouchBody body) {
  // Dimension i of this update's weight is dimension permutation[i] of the source's.
  ArrayRef<int64_t> permutation = getPermutation();
  SmallVector<Value> inner(sizes.size());
  for (auto [i, dim] : llvm::enumerate(permutation))
    inner[dim] = sizes[i];
  return forward(b, getSource(), inner, factor, carried,
                 [&](ImplicitLocOpBuilder &at, ValueRange element, Value value, ElementUpdate update) {
                   SmallVector<Value> outer;
                   for (int64_t dim : permutation)
                     outer.push_back(element[dim]);
                   return body(at, outer, value, update);
                 });
}

Value PlaceOp::forEachTouched(ImplicitLocOpBuilder &b, ValueRange sizes, Value factor, Value carried,
                              TouchBody body) {
  SmallVector<Value> inner(sizes);
  int64_t part = getSource().getType().getWeight().getDimSize(getAxis());
  if (ShapedType::isDynamic(part))
    return {};
  inner[getAxis()] = arith::ConstantIndexOp::create(b, part);
  return forward(b, getSource(), inner, factor, carried,
                 [&](ImplicitLocOpBuilder &at, ValueRange element, Value value, ElementUpdate update) {
                   SmallVector<Value> outer(element);
                   Value offset = arith::ConstantIndexOp::create(at, getOffset());
                   outer[getAxis()] = arith::AddIOp::create(at, outer[getAxis()], offset);
                   return body(at, outer, value, update);
                 });
}
