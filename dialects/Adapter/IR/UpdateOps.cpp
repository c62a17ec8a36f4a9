// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The update type, and verification of the ops that make and combine updates.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"

using namespace mlir;
using namespace adapter;

UpdateType adapter::updateTypeOf(Type weight) {
  auto tensor = dyn_cast<RankedTensorType>(weight);
  if (!tensor)
    return {};
  return UpdateType::get(weight.getContext(),
                         RankedTensorType::get(tensor.getShape(), tensor.getElementType()));
}

bool adapter::dependsOnInput(Value update) {
  auto op = update.getDefiningOp<UpdateOpInterface>();
  return op && (op.dependsOnInput() || llvm::any_of(op->getOperands(), [](Value operand) {
                  return isa<UpdateType>(operand.getType()) && dependsOnInput(operand);
                }));
}

bool adapter::isKnownUpdate(Value update) {
  auto op = update.getDefiningOp<UpdateOpInterface>();
  if (!op || isa<SelectOp>(op) || op.dependsOnInput())
    return false;
  return llvm::all_of(op->getOperands(), [](Value operand) {
    return !isa<UpdateType>(operand.getType()) || isKnownUpdate(operand);
  });
}

bool adapter::shapesAgree(ArrayRef<int64_t> a, ArrayRef<int64_t> b) {
  return a.size() == b.size() && llvm::all_of(llvm::zip(a, b), [](auto pair) {
           auto [x, y] = pair;
           return x == y || ShapedType::isDynamic(x) || ShapedType::isDynamic(y);
         });
}

LogicalResult UpdateType::verify(function_ref<InFlightDiagnostic()> emitError, RankedTensorType weight) {
  if (weight.getEncoding())
    return emitError() << "names a weight without encoding; got " << weight;
  if (!isa<FloatType>(weight.getElementType()))
    return emitError() << "names a weight of floats; got " << weight;
  return success();
}

static ArrayRef<int64_t> shapeOf(Value value) { return cast<ShapedType>(value.getType()).getShape(); }
static ArrayRef<int64_t> updateShape(Value update) {
  return cast<UpdateType>(update.getType()).getWeight().getShape();
}

static LogicalResult verifyFloats(Operation *op, ValueRange tensors) {
  for (Value tensor : tensors)
    if (!isa<FloatType>(getElementTypeOrSelf(tensor.getType())))
      return op->emitOpError("needs tensors of floats; got ") << tensor.getType();
  return success();
}

//===----------------------------------------------------------------------===//
// From tensors
//===----------------------------------------------------------------------===//

LogicalResult LowRankOp::verify() {
  ArrayRef<int64_t> a = shapeOf(getA()), b = shapeOf(getB()), weight = updateShape(getUpdate());
  if (failed(verifyFloats(*this, getOperands())))
    return failure();
  if (a.size() < 2 || b.size() != 2)
    return emitOpError("needs factors [rank, inputs...] and [outputs, rank]; got ")
           << getA().getType() << " and " << getB().getType();
  if (!shapesAgree(a[0], b[1]))
    return emitOpError("has factors of ranks ") << a[0] << " and " << b[1];
  SmallVector<int64_t> product(a);
  product[0] = b[0];
  if (!shapesAgree(product, weight))
    return emitOpError("makes an update of ") << ArrayRef<int64_t>(product) << ", not of " << weight;
  if (getMiddle() && !shapesAgree(shapeOf(getMiddle()), a[0]))
    return emitOpError("needs a middle factor of ") << a[0] << " elements; got " << getMiddle().getType();
  return success();
}

static LogicalResult verifyWhole(Operation *op, Value value, Value update) {
  if (failed(verifyFloats(op, value)))
    return failure();
  if (!shapesAgree(shapeOf(value), updateShape(update)))
    return op->emitOpError("has a value of ") << shapeOf(value) << " for a weight of " << updateShape(update);
  return success();
}

LogicalResult DenseOp::verify() { return verifyWhole(*this, getValue(), getUpdate()); }
LogicalResult ReplaceOp::verify() { return verifyWhole(*this, getValue(), getUpdate()); }

//===----------------------------------------------------------------------===//
// From updates
//===----------------------------------------------------------------------===//

static LogicalResult verifySources(Operation *op, ValueRange sources) {
  for (Value source : sources)
    if (source.getType() != op->getResult(0).getType())
      return op->emitOpError("combines updates of ")
             << source.getType() << " and " << op->getResult(0).getType();
  return success();
}

// The op that makes an update not additive; null where there is none or where that cannot be seen.
static Operation *findNonAdditive(Value update) {
  auto op = update.getDefiningOp<UpdateOpInterface>();
  if (!op || op.isAdditive())
    return nullptr;
  if (!isa<ScaleOp, TransposeOp, PlaceOp, ComposeOp>(op))
    return op;
  for (Value source : op->getOperands())
    if (Operation *found = findNonAdditive(source))
      return found;
  return nullptr;
}

LogicalResult SumOp::verify() {
  for (Value source : getSources())
    if (Operation *op = findNonAdditive(source))
      return emitOpError("adds an update that is not additive, by '")
             << op->getName() << "'; adapter.compose takes any";
  return verifySources(*this, getSources());
}

LogicalResult ComposeOp::verify() { return verifySources(*this, getSources()); }

LogicalResult MagnitudeOp::verify() {
  ArrayRef<int64_t> weight = updateShape(getUpdate());
  if (getAxis() < 0 || getAxis() >= static_cast<int64_t>(weight.size()))
    return emitOpError("has no axis ") << getAxis() << " in a weight of " << weight;
  if (failed(verifyFloats(*this, getMagnitude())))
    return failure();
  if (!shapesAgree(shapeOf(getMagnitude()), weight[getAxis()]))
    return emitOpError("needs ") << weight[getAxis()] << " magnitudes; got " << getMagnitude().getType();
  return success();
}

LogicalResult TransposeOp::verify() {
  ArrayRef<int64_t> from = updateShape(getSource()), to = updateShape(getUpdate());
  if (getPermutation().size() != from.size() || !isPermutationVector(getPermutation()))
    return emitOpError("needs a permutation of ") << from.size() << " dimensions";
  if (!shapesAgree(applyPermutation(from, getPermutation()), to))
    return emitOpError("turns ") << from << " into something else than " << to;
  return success();
}

LogicalResult PlaceOp::verify() {
  ArrayRef<int64_t> part = updateShape(getSource()), whole = updateShape(getUpdate());
  if (getAxis() < 0 || getAxis() >= static_cast<int64_t>(whole.size()) || part.size() != whole.size())
    return emitOpError("cannot place ") << part << " into " << whole << " along axis " << getAxis();
  SmallVector<int64_t> rest(part);
  rest[getAxis()] = whole[getAxis()];
  bool fits = ShapedType::isDynamic(whole[getAxis()]) || ShapedType::isDynamic(part[getAxis()]) ||
              part[getAxis()] <= whole[getAxis()] - getOffset();
  if (!shapesAgree(rest, whole) || getOffset() < 0 || !fits)
    return emitOpError("cannot place ")
           << part << " into " << whole << " at " << getOffset() << " along axis " << getAxis();
  return success();
}

LogicalResult ReshapeOp::verify() {
  ArrayRef<int64_t> from = updateShape(getSource()), to = updateShape(getUpdate());
  auto count = [](ArrayRef<int64_t> shape) {
    return llvm::is_contained(shape, ShapedType::kDynamic) ? ShapedType::kDynamic
                                                           : ShapedType::getNumElements(shape);
  };
  int64_t all = count(to);
  bool fits = from.size() == 2 && shapesAgree(count(from), all) &&
              (getVector() ? shapesAgree(from, {all, 1}) : !to.empty() && shapesAgree(from[0], to[0]));
  return fits ? success() : emitOpError("turns ") << from << " into something else than " << to;
}
