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

// Made of two matrices at least, whatever stands around and between them: the product goes through few directions.
static bool isThin(ArrayRef<MapFactor> factors) {
  return llvm::count_if(factors, [](const MapFactor &factor) { return isa<MatrixOp>(*factor.map); }) >= 2;
}

namespace {
class Reader {
public:
  Reader(B &b, llvm::function_ref<Value()> weight) : b(b), weight(weight) {}
  bool read(Value update);

  NormalForm result;

private:
  void readAdd(AddOp op);
  void readLeft(ArrayRef<MapFactor> factors);
  void readRight(ArrayRef<MapFactor> factors);
  bool readMagnitude(MagnitudeOp op);
  Value lengthsOf(Value update);
  void multiplyGain(const MapFactor &diagonal);
  bool mapsResult() {
    return llvm::any_of(result.after, [](const AfterMap &each) { return each.isLeft; });
  }

  B &b;
  llvm::function_ref<Value()> weight;
};
} // namespace

// What is added behind a gain is not multiplied by it.
void Reader::readAdd(AddOp op) {
  for (SmallVector<MapFactor> &factors : termsOf(op.getMap())) {
    AddedTerm term{std::move(factors), op.getScale()};
    if (isThin(term.factors) && !result.gain && !mapsResult())
      result.terms.push_back(std::move(term));
    else
      result.after.push_back({/*isLeft=*/false, std::move(term)});
  }
}

// Where nothing but additions came before, they are multiplied each.
void Reader::multiplyGain(const MapFactor &diagonal) {
  Value factors = cast<DiagonalOp>(*diagonal.map).getFactors();
  factors = b.createOrFold<tensor::CastOp>(vectorType(b), factors);
  result.gain = result.gain ? arith::MulFOp::create(b, result.gain, factors).getResult() : factors;
  for (AfterMap &each : result.after)
    each.term.factors.insert(each.term.factors.begin(), diagonal);
}

// The last factor acts first.
void Reader::readLeft(ArrayRef<MapFactor> factors) {
  while (!factors.empty() && isa<DiagonalOp>(*factors.back().map) && !mapsResult()) {
    multiplyGain(factors.back());
    factors = factors.drop_back();
  }
  if (!factors.empty())
    result.after.push_back({/*isLeft=*/true, {SmallVector<MapFactor>(factors), Value()}});
}

// (W R + D) M = W R M + D M.
void Reader::readRight(ArrayRef<MapFactor> factors) {
  llvm::append_range(result.right, factors);
  for (AddedTerm &term : result.terms)
    llvm::append_range(term.factors, factors);
  for (AfterMap &each : result.after)
    if (!each.isLeft)
      llvm::append_range(each.term.factors, factors);
}

// Those of the rows of the weight with an update in it.
Value Reader::lengthsOf(Value update) {
  auto source = update.getDefiningOp<UpdateOpInterface>();
  Value updated = source ? source.materialize(b, UpdateTarget::of(weight())) : Value();
  if (!updated)
    return {};
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
  return math::SqrtOp::create(b, squares.getResult(0));
}

// magnitude / |row| of the weight with what came before.
bool Reader::readMagnitude(MagnitudeOp op) {
  // The norm is that of the source's weight, which is the base's only if nothing came before.
  bool isFirst = !result.needsSteps() && result.terms.empty() && !result.gain;
  if (op.getAxis() != 0 || !isFirst || !read(op.getSource()))
    return false;
  Value gain = op.getMagnitude();
  if (!weight) {
    result.unit = !result.gain && !result.needsSteps();
    if (!result.unit)
      return false;
  } else {
    Value lengths = lengthsOf(op.getSource());
    if (!lengths)
      return false;
    gain = arith::DivFOp::create(b, b.createOrFold<tensor::CastOp>(vectorType(b), gain), lengths);
  }
  readLeft(factorsOf(DiagonalOp::create(b, MapType::get(b.getContext()), gain)));
  return true;
}

bool Reader::read(Value update) {
  Operation *op = update.getDefiningOp();
  if (auto add = dyn_cast_if_present<AddOp>(op))
    return readAdd(add), true;
  if (auto left = dyn_cast_if_present<LeftOp>(op))
    return readLeft(factorsOf(left.getMap())), true;
  if (auto right = dyn_cast_if_present<RightOp>(op))
    return readRight(factorsOf(right.getMap())), true;
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

Value adapter::scaledBy(B &b, Value tensor, Value factor) {
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

// Matrices of f64 side by side along `axis`.
static Value joinedAlong(B &b, ArrayRef<Value> matrices, int64_t axis) {
  if (matrices.size() == 1)
    return matrices.front();
  return tensor::ConcatOp::create(b, axis, matrices);
}

DenseFactors adapter::stackedFactors(B &b, ArrayRef<AddedTerm> terms, Value columns) {
  SmallVector<Value> outer, inner;
  auto any = RankedTensorType::get({ShapedType::kDynamic, ShapedType::kDynamic}, b.getF64Type());
  for (const AddedTerm &term : terms) {
    DenseFactors own = denseFactors(b, term.factors, columns);
    outer.push_back(scaledBy(b, b.createOrFold<tensor::CastOp>(any, own.outer), term.scale));
    inner.push_back(b.createOrFold<tensor::CastOp>(any, own.inner));
  }
  return {joinedAlong(b, outer, 1), joinedAlong(b, inner, 0)};
}

std::optional<std::pair<Value, Value>> adapter::addedElements(B &b, const NormalForm &form) {
  bool isAll = form.right.empty() && form.terms.empty() && !form.gain && form.after.size() == 1;
  if (!isAll || form.after[0].isLeft)
    return std::nullopt;
  const AddedTerm &term = form.after[0].term;
  if (term.factors.size() != 1 || term.factors[0].adjoint)
    return std::nullopt;
  auto gather = dyn_cast<GatherOp>(*term.factors[0].map);
  if (!gather)
    return std::nullopt;
  return std::pair(Value(gather.getPlaces()), scaledBy(b, gather.getValues(), term.scale));
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
