// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See FormSteps.h. Adjoints are folded into the tensors, and a matrix is one block.
#include "lib/Compile/FormSteps.h"
#include "adapter-rt/artifact.h"
#include "lib/Compile/Generate.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

static Value constant(B &b, int64_t value) { return arith::ConstantIndexOp::create(b, value); }
static Value sizeOf(B &b, Value tensor, int64_t axis) { return b.createOrFold<tensor::DimOp>(tensor, axis); }

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

// [k, p, q] as [k, q, p].
static Value exchanged(B &b, Value tensor) {
  SmallVector<Value> sizes{sizeOf(b, tensor, 0), sizeOf(b, tensor, 2), sizeOf(b, tensor, 1)};
  return generateTensor(b, sizes, b.getF64Type(), [&](B &inner, ValueRange at) -> Value {
    return tensor::ExtractOp::create(inner, tensor, ValueRange{at[0], at[2], at[1]});
  });
}

static Value asOneBlock(B &b, Value matrix) {
  SmallVector<Value> sizes{constant(b, 1), sizeOf(b, matrix, 0), sizeOf(b, matrix, 1)};
  return generateTensor(b, sizes, b.getF64Type(), [&](B &inner, ValueRange at) -> Value {
    return tensor::ExtractOp::create(inner, matrix, at.drop_front());
  });
}

static Value asInteger(B &b, Value index) { return arith::IndexCastOp::create(b, b.getI64Type(), index); }

// For each element of a shuffle's result, where it comes from.
static Value orderOf(B &b, ShuffleOp op, bool adjoint) {
  SmallVector<int64_t> order(op.getPermutation());
  SmallVector<Value> dims(op.getDims());
  if (adjoint) {
    dims = applyPermutation(dims, order);
    order = invertPermutationVector(order);
  }
  return generateTensor(b, {op.sizes(b).first}, b.getI64Type(), [&](B &inner, ValueRange at) -> Value {
    Value left = at[0];
    SmallVector<Value> place(dims.size());
    for (int64_t dim = dims.size(); dim-- > 0;) {
      place[order[dim]] = arith::RemUIOp::create(inner, left, dims[order[dim]]);
      left = arith::DivUIOp::create(inner, left, dims[order[dim]]);
    }
    Value from = constant(inner, 0);
    for (auto [size, part] : llvm::zip(dims, place))
      from = arith::AddIOp::create(inner, arith::MulIOp::create(inner, from, size), part);
    return asInteger(inner, from);
  });
}

static Value inverseOrder(B &b, Value order) {
  Value size = sizeOf(b, order, 0);
  Value empty = tensor::EmptyOp::create(b, ArrayRef<int64_t>{ShapedType::kDynamic}, b.getI64Type(), size);
  auto loop = scf::ForOp::create(b, constant(b, 0), size, constant(b, 1), empty);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  Value i = loop.getInductionVar(), at = tensor::ExtractOp::create(b, order, i);
  at = arith::IndexCastOp::create(b, b.getIndexType(), at);
  Value next = tensor::InsertOp::create(b, asInteger(b, i), loop.getRegionIterArg(0), at);
  scf::YieldOp::create(b, next);
  return loop.getResult(0);
}

// Places [2, count] of a map, as its transposed has them.
static Value exchangedPlaces(B &b, Value places) {
  Value one = constant(b, 1);
  return generateTensor(b, {constant(b, 2), sizeOf(b, places, 1)}, b.getI64Type(),
                        [&](B &inner, ValueRange at) -> Value {
                          Value row = arith::SubIOp::create(inner, one, at[0]);
                          return tensor::ExtractOp::create(inner, places, ValueRange{row, at[1]});
                        });
}

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

namespace {
class StepWriter {
public:
  explicit StepWriter(B &b) : b(b) {}

  bool writeRight(ArrayRef<MapFactor> right, Value columns);
  bool writeAfter(const AfterMap &each, Value out, Value columns);
  FormSteps finish();

private:
  // What a map reads and where what it makes goes: to a vector of `width`, which it is added to if so asked.
  struct Place {
    int from, to;
    bool accumulates;
    Value width; // of `from`
  };

  Value chain(ArrayRef<MapFactor> factors, Place place, Value scale);
  Value map(const MapFactor &factor, Place place, Value scale);
  Value plus(PlusOp op, bool adjoint, Place place);
  Value blocks(Value tensor, Value count, bool adjoint, Place place, Value scale);
  Value gather(GatherOp op, bool adjoint, Place place, Value scale);
  Value permute(Value order, Place place);
  void add(int kernel, const Place &place, Value numbers, Value indices, ArrayRef<Value> extents);
  int acquire();
  void release(int buffer) { taken.erase(buffer); }

  B &b;
  FormSteps result;
  SmallVector<Value> extents;
  std::set<int> taken; // temporaries that hold what is still to be read
};
} // namespace

int StepWriter::acquire() {
  int buffer = ADAPTER_STEP_TEMPORARY;
  while (!taken.insert(buffer).second)
    ++buffer;
  return buffer;
}

void StepWriter::add(int kernel, const Place &place, Value numbers, Value indices, ArrayRef<Value> sizes) {
  auto keep = [&](Value tensor) {
    if (tensor)
      result.tensors.push_back(tensor);
    return tensor ? static_cast<int>(result.tensors.size()) - 1 : -1;
  };
  int numbersAt = keep(numbers), indicesAt = keep(indices);
  result.steps.push_back({kernel, place.from, place.to, place.accumulates, numbersAt, indicesAt});
  for (unsigned i = 0; i < ADAPTER_STEP_EXTENTS; ++i)
    extents.push_back(asInteger(b, i < sizes.size() ? sizes[i] : constant(b, 0)));
}

Value StepWriter::blocks(Value tensor, Value count, bool adjoint, Place place, Value scale) {
  Value numbers = scaledBy(b, adjoint ? tensor : exchanged(b, tensor), scale);
  Value given = sizeOf(b, numbers, 0), q = sizeOf(b, numbers, 1), p = sizeOf(b, numbers, 2);
  Value made = arith::MulIOp::create(b, count, p), read = arith::MulIOp::create(b, count, q);
  add(ADAPTER_STEP_BLOCKS, place, numbers, {}, {made, read, p, q, count, given});
  return made;
}

Value StepWriter::gather(GatherOp op, bool adjoint, Place place, Value scale) {
  Value made = adjoint ? op.getColumns() : op.getRows(), read = adjoint ? op.getRows() : op.getColumns();
  Value places = adjoint ? exchangedPlaces(b, op.getPlaces()) : op.getPlaces();
  Value values = scaledBy(b, op.getValues(), scale);
  add(ADAPTER_STEP_GATHER, place, values, places, {made, read, sizeOf(b, values, 0)});
  return made;
}

Value StepWriter::permute(Value order, Place place) {
  Value width = sizeOf(b, order, 0);
  add(ADAPTER_STEP_PERMUTE, place, {}, order, {width, width});
  return width;
}

// The first part is written, the others are added to it.
Value StepWriter::plus(PlusOp op, bool adjoint, Place place) {
  Value made;
  for (Value each : op.getMaps()) {
    made = chain(factorsOf(each, adjoint), place, {});
    if (!made)
      return {};
    place.accumulates = true;
  }
  return made;
}

// The width of what a map makes; null where it is no step.
Value StepWriter::map(const MapFactor &factor, Place place, Value scale) {
  Operation *op = factor.map;
  if (auto each = dyn_cast<PlusOp>(op))
    return plus(each, factor.adjoint, place);
  if (auto each = dyn_cast<MatrixOp>(op))
    return blocks(asOneBlock(b, each.getTensor()), constant(b, 1), factor.adjoint, place, scale);
  if (auto each = dyn_cast<BlocksOp>(op))
    return blocks(each.getTensor(), each.getCount(), factor.adjoint, place, scale);
  if (auto each = dyn_cast<GatherOp>(op))
    return gather(each, factor.adjoint, place, scale);
  if (auto each = dyn_cast<ShuffleOp>(op))
    return permute(orderOf(b, each, factor.adjoint), place);
  if (auto each = dyn_cast<PermuteOp>(op))
    return permute(factor.adjoint ? inverseOrder(b, each.getOrder()) : each.getOrder(), place);
  if (auto each = dyn_cast<DiagonalOp>(op)) {
    Value factors = scaledBy(b, each.getFactors(), scale), width = sizeOf(b, factors, 0);
    add(ADAPTER_STEP_DIAGONAL, place, factors, {}, {width, width});
    return width;
  }
  return {};
}

// A product, whose last factor acts first. A scale goes into one of its tensors.
Value StepWriter::chain(ArrayRef<MapFactor> factors, Place place, Value scale) {
  if (factors.empty()) {
    add(ADAPTER_STEP_COPY, place, {}, {}, {place.width, place.width});
    return place.width;
  }
  auto *scaled = llvm::find_if(factors, [](const MapFactor &factor) {
    return isa<MatrixOp, BlocksOp, GatherOp, DiagonalOp>(*factor.map);
  });
  if (scale && scaled == factors.end())
    return {};
  int from = place.from;
  Value width = place.width;
  for (auto *factor = factors.end(); factor-- != factors.begin();) {
    bool isLast = factor == factors.begin();
    int to = isLast ? place.to : acquire();
    width = map(*factor, {from, to, isLast && place.accumulates, width}, factor == scaled ? scale : Value());
    if (!width)
      return {};
    if (from != place.from)
      release(from);
    from = to;
  }
  return width;
}

bool StepWriter::writeRight(ArrayRef<MapFactor> right, Value columns) {
  if (!right.empty() && !chain(right, {ADAPTER_STEP_INPUT, ADAPTER_STEP_RESULT, false, columns}, {}))
    return false;
  result.before = static_cast<int>(result.steps.size());
  return true;
}

bool StepWriter::writeAfter(const AfterMap &each, Value out, Value columns) {
  ArrayRef<MapFactor> factors = each.term.factors;
  if (!each.isLeft)
    return static_cast<bool>(
        chain(factors, {ADAPTER_STEP_INPUT, ADAPTER_STEP_RESULT, true, columns}, each.term.scale));
  // A product of several reads the result before the last of them writes it; a diagonal may write what it reads.
  bool inPlace = factors.size() > 1 || isa<DiagonalOp>(*factors.front().map);
  int from = ADAPTER_STEP_RESULT;
  if (!inPlace) {
    from = acquire();
    add(ADAPTER_STEP_COPY, {ADAPTER_STEP_RESULT, from, false, out}, {}, {}, {out, out});
  }
  bool said = static_cast<bool>(chain(factors, {from, ADAPTER_STEP_RESULT, false, out}, {}));
  release(from);
  return said;
}

FormSteps StepWriter::finish() {
  int64_t steps = result.steps.size();
  auto type = RankedTensorType::get({steps, ADAPTER_STEP_EXTENTS}, b.getI64Type());
  if (steps)
    result.extents = tensor::FromElementsOp::create(b, type, extents);
  return std::move(result);
}

std::optional<FormSteps> adapter::stepsOf(B &b, const NormalForm &form, Value out, Value columns) {
  StepWriter writer(b);
  if (!writer.writeRight(form.right, columns))
    return std::nullopt;
  for (const AfterMap &each : form.after)
    if (!writer.writeAfter(each, out, columns))
      return std::nullopt;
  return writer.finish();
}
