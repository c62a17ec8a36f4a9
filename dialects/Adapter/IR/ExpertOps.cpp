// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Verification of routers and experts.
#include "dialects/Adapter/IR/AdapterOps.h"

using namespace mlir;
using namespace adapter;

static ArrayRef<int64_t> shapeOf(Value value) { return cast<ShapedType>(value.getType()).getShape(); }

LogicalResult RouteOp::verify() {
  ArrayRef<int64_t> logits = shapeOf(getLogits());
  if (logits.size() != 2)
    return emitOpError("needs logits of rank 2, rows and experts; got ") << getLogits().getType();
  int64_t top = getTop(), experts = logits[1];
  if (top < 1 || (!ShapedType::isDynamic(experts) && top > experts))
    return emitOpError("chooses ") << top << " of " << experts << " experts";
  if (!shapesAgree(shapeOf(getWeights()), {logits[0], top}) ||
      !shapesAgree(shapeOf(getIds()), {logits[0], top}))
    return emitOpError("has a weight and an id for each chosen expert; got ")
           << getWeights().getType() << " and " << getIds().getType();
  if (!isa<IntegerType>(getElementTypeOrSelf(getIds().getType())) ||
      getElementTypeOrSelf(getWeights().getType()) != getElementTypeOrSelf(getLogits().getType()))
    return emitOpError("has weights of the logits' type and ids that are integers");
  bool isSelectFirst = getOrder() == RouterOrder::SelectFirst;
  if (getNormalise() == RouterNormalise::Before && isSelectFirst)
    return emitOpError("cannot normalise before a selection that comes before the score");
  if (getNormalise() != RouterNormalise::None && getScore() == RouterScore::None)
    return emitOpError("cannot divide logits by their sum, which may be zero");
  bool isAfter = getNormalise() == RouterNormalise::After;
  if (getScore() == RouterScore::Softmax &&
      (getNormalise() == RouterNormalise::Before || (isAfter && isSelectFirst)))
    return emitOpError("normalises what its softmax has normalised");
  if (getScore() == RouterScore::None && isSelectFirst)
    return emitOpError("has no score that could follow the selection");
  return success();
}

// As many experts for each process, all of them placed.
static LogicalResult verifyPlacement(ExpertsOp op, int64_t experts) {
  if (op.getRanks().has_value() != op.getPlacement().has_value())
    return op.emitOpError("needs both ranks and a placement or neither");
  if (!op.getRanks())
    return success();
  int64_t ranks = static_cast<int64_t>(*op.getRanks());
  ArrayRef<int64_t> placement = *op.getPlacement();
  if (ShapedType::isDynamic(experts))
    return op.emitOpError("places experts whose number is not known");
  if (static_cast<int64_t>(placement.size()) != experts)
    return op.emitOpError("has places for ") << placement.size() << " experts of " << experts;
  if (ranks < 1 || ranks > experts || experts % ranks)
    return op.emitOpError("cannot place ") << experts << " experts evenly on " << ranks << " ranks";
  SmallVector<int64_t> held(ranks);
  for (int64_t rank : placement) {
    if (rank < 0 || rank >= ranks)
      return op.emitOpError("places an expert on rank ") << rank << " of " << ranks;
    ++held[rank];
  }
  for (auto [rank, count] : llvm::enumerate(held))
    if (count != experts / ranks)
      return op.emitOpError("places ")
             << count << " experts on rank " << rank << ", not " << experts / ranks << " on each";
  return success();
}

LogicalResult ExpertsOp::verify() {
  ArrayRef<int64_t> input = shapeOf(getInput()), ids = shapeOf(getIds()), weights = shapeOf(getWeights());
  ArrayRef<int64_t> up = shapeOf(getUp()), down = shapeOf(getDown()), result = shapeOf(getResult());
  if (input.size() != 2 || ids.size() != 2 || weights.size() != 2 || result.size() != 2)
    return emitOpError("needs an input, ids, weights and a result of rank 2");
  if (up.size() != 3 || down.size() != 3)
    return emitOpError("needs weights of all experts in tensors of rank 3");
  if (!isa<IntegerType>(getElementTypeOrSelf(getIds().getType())))
    return emitOpError("needs ids that are integers");
  if (!shapesAgree(ids, weights))
    return emitOpError("has ") << ArrayRef(ids) << " ids for " << ArrayRef(weights) << " weights";
  if (!shapesAgree(input[0], ids[0]))
    return emitOpError("has ids of ") << ids[0] << " tokens for " << input[0];
  // A router over more experts than there are would choose some that do not exist.
  if (auto route = getIds().getDefiningOp<RouteOp>()) {
    int64_t routed = shapeOf(route.getLogits())[1];
    if (!ShapedType::isDynamic(routed) && !ShapedType::isDynamic(up[0]) && routed > up[0])
      return emitOpError("has ") << up[0] << " experts for a router over " << routed;
  }
  if (!shapesAgree(up[0], down[0]))
    return emitOpError("has ") << up[0] << " experts in one product, " << down[0] << " in the other";
  // The sizes of a product: what it gives and what it takes.
  int64_t upOut = up[1 + getTransposed()], upIn = up[2 - getTransposed()];
  int64_t downOut = down[1 + getTransposed()], downIn = down[2 - getTransposed()];
  if (!shapesAgree(input[1], upIn))
    return emitOpError("has an input of width ") << input[1] << " for experts that take " << upIn;
  if (!ShapedType::isDynamic(upOut) && getGated()) {
    if (upOut % 2)
      return emitOpError("cannot halve the ") << upOut << " results of its first product";
    upOut /= 2;
  }
  if (Value bias = getBias(); bias && !shapesAgree(shapeOf(bias), {up[0], up[1 + getTransposed()]}))
    return emitOpError("has a bias of ") << bias.getType() << " for a first product of " << getUp().getType();
  if (!shapesAgree(upOut, downIn))
    return emitOpError("has a first product of width ") << upOut << " for a second that takes " << downIn;
  if (!shapesAgree(result, {input[0], downOut}))
    return emitOpError("has a result of ")
           << result << ", not of " << input[0] << " tokens of width " << downOut;
  return verifyPlacement(*this, up[0]);
}
