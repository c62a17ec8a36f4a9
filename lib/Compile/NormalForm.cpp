// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See NormalForm.h. Updates are read in the order in which they act.
#include "lib/Compile/NormalForm.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

static RankedTensorType vectorType(B &b) {
  return RankedTensorType::get({ShapedType::kDynamic}, b.getF64Type());
}

namespace {
class Reader {
public:
  Reader(B &b, llvm::function_ref<Value()> weight) : b(b), weight(weight) {}
  bool read(Value update);

  NormalForm result;

private:
  bool readAdd(AddOp op);
  bool readLeft(ArrayRef<MapFactor> factors);
  bool readMagnitude(MagnitudeOp op);
  void multiplyGain(Value factors) {
    result.gain = result.gain ? arith::MulFOp::create(b, result.gain, factors).getResult() : factors;
  }

  B &b;
  llvm::function_ref<Value()> weight;
};
} // namespace

bool Reader::readAdd(AddOp op) {
  if (result.gain) // what comes behind it is not multiplied by it
    return false;
  for (SmallVector<MapFactor> &factors : termsOf(op.getMap()))
    result.terms.push_back({std::move(factors), op.getScale()});
  return true;
}

bool Reader::readLeft(ArrayRef<MapFactor> factors) {
  for (const MapFactor &factor : factors) {
    auto diagonal = dyn_cast<DiagonalOp>(*factor.map);
    if (!diagonal)
      return false;
    Value any = b.createOrFold<tensor::CastOp>(vectorType(b), diagonal.getFactors());
    multiplyGain(any);
  }
  return true;
}

// magnitude / |row| of the weight with what came before.
bool Reader::readMagnitude(MagnitudeOp op) {
  if (op.getAxis() != 0 || !read(op.getSource()) || result.gain)
    return false;
  auto source = op.getSource().getDefiningOp<UpdateOpInterface>();
  Value updated = source ? source.materialize(b, UpdateTarget::of(weight())) : Value();
  if (!updated)
    return false;
  Value rows = b.createOrFold<tensor::DimOp>(updated, 0);
  Value zero = arith::ConstantOp::create(b, b.getF64FloatAttr(0));
  Value empty = tensor::EmptyOp::create(b, vectorType(b), ValueRange{rows});
  Value init = linalg::FillOp::create(b, zero, empty).getResult(0);
  SmallVector<AffineMap> maps{b.getMultiDimIdentityMap(2), AffineMap::get(2, 0, b.getAffineDimExpr(0))};
  SmallVector<utils::IteratorType> iterators{utils::IteratorType::parallel, utils::IteratorType::reduction};
  auto squares = linalg::GenericOp::create(
      b, init.getType(), updated, init, maps, iterators, [](OpBuilder &inner, Location loc, ValueRange at) {
        Value square = arith::MulFOp::create(inner, loc, at[0], at[0]);
        linalg::YieldOp::create(inner, loc, arith::AddFOp::create(inner, loc, at[1], square).getResult());
      });
  Value lengths = math::SqrtOp::create(b, squares.getResult(0));
  Value magnitude = b.createOrFold<tensor::CastOp>(vectorType(b), op.getMagnitude());
  result.gain = arith::DivFOp::create(b, magnitude, lengths);
  return true;
}

bool Reader::read(Value update) {
  Operation *op = update.getDefiningOp();
  if (auto add = dyn_cast_if_present<AddOp>(op))
    return readAdd(add);
  if (auto left = dyn_cast_if_present<LeftOp>(op))
    return readLeft(factorsOf(left.getMap()));
  if (auto magnitude = dyn_cast_if_present<MagnitudeOp>(op))
    return readMagnitude(magnitude);
  if (auto compose = dyn_cast_if_present<ComposeOp>(op))
    return llvm::all_of(compose.getSources(), [&](Value each) { return read(each); });
  return false;
}

std::optional<NormalForm> adapter::normalFormOf(B &b, Value update, llvm::function_ref<Value()> weight) {
  Reader reader(b, weight);
  return reader.read(update) ? std::optional(std::move(reader.result)) : std::nullopt;
}

//===----------------------------------------------------------------------===//
// Terms
//===----------------------------------------------------------------------===//

static Value scaledBy(B &b, Value tensor, Value factor) {
  if (!factor)
    return tensor;
  auto type = cast<RankedTensorType>(tensor.getType());
  SmallVector<Value> sizes;
  for (int64_t dim = 0; dim < type.getRank(); ++dim)
    if (type.isDynamicDim(dim))
      sizes.push_back(b.createOrFold<tensor::DimOp>(tensor, dim));
  Value splat = tensor::SplatOp::create(b, factor, type, sizes);
  return arith::MulFOp::create(b, tensor, splat);
}

// Matrices and diagonals alone, at least two of the former.
static bool isThin(ArrayRef<MapFactor> factors) {
  int64_t matrices = 0;
  for (const MapFactor &factor : factors) {
    if (!isa<MatrixOp, DiagonalOp>(*factor.map))
      return false;
    matrices += isa<MatrixOp>(*factor.map);
  }
  return matrices >= 2;
}

// Matrices of f64 side by side along `axis`.
static Value joinedAlong(B &b, ArrayRef<Value> matrices, int64_t axis) {
  if (matrices.size() == 1)
    return matrices.front();
  return tensor::ConcatOp::create(b, axis, matrices);
}

DenseFactors adapter::stackedFactors(B &b, ArrayRef<AddedTerm> terms, Value columns) {
  if (terms.empty() || !llvm::all_of(terms, [](const AddedTerm &term) { return isThin(term.factors); }))
    return {};
  SmallVector<Value> outer, inner;
  auto any = RankedTensorType::get({ShapedType::kDynamic, ShapedType::kDynamic}, b.getF64Type());
  for (const AddedTerm &term : terms) {
    DenseFactors own = denseFactors(b, term.factors, columns);
    outer.push_back(scaledBy(b, b.createOrFold<tensor::CastOp>(any, own.outer), term.scale));
    inner.push_back(b.createOrFold<tensor::CastOp>(any, own.inner));
  }
  return {joinedAlong(b, outer, 1), joinedAlong(b, inner, 0)};
}

std::optional<std::pair<Value, Value>> adapter::addedElements(B &b, ArrayRef<AddedTerm> terms) {
  if (terms.size() != 1 || terms[0].factors.size() != 1 || terms[0].factors[0].adjoint)
    return std::nullopt;
  auto gather = dyn_cast<GatherOp>(*terms[0].factors[0].map);
  if (!gather)
    return std::nullopt;
  return std::pair(Value(gather.getPlaces()), scaledBy(b, gather.getValues(), terms[0].scale));
}

std::optional<PutElements> adapter::putElements(Value update) {
  Value share;
  if (auto scale = update.getDefiningOp<ScaleOp>()) {
    share = scale.getFactor();
    update = scale.getSource();
  }
  auto sparse = update.getDefiningOp<SparseOp>();
  bool puts = sparse && sparse.getMode() == SparseMode::Overwrite;
  if (!puts || sparse.getSupport() != SparseSupport::Coordinates)
    return std::nullopt;
  return PutElements{sparse.getIndices(), sparse.getValues(), share};
}

std::optional<std::pair<Value, Value>> adapter::putColumns(Value update) {
  auto sparse = update.getDefiningOp<SparseOp>();
  bool puts = sparse && sparse.getMode() == SparseMode::Overwrite;
  if (!puts || sparse.getSupport() != SparseSupport::Columns)
    return std::nullopt;
  return std::pair(Value(sparse.getIndices()), Value(sparse.getValues()));
}
