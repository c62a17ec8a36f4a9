// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Verification of routers, mixtures and experts.
#include "dialects/Adapter/IR/AdapterOps.h"
#include <cmath>

using namespace mlir;
using namespace adapter;

static ArrayRef<int64_t> shapeOf(Value value) { return cast<ShapedType>(value.getType()).getShape(); }

// Size of the last dimension; unknown where the type does not say.
static int64_t widthOf(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getRank() ? type.getShape().back() : ShapedType::kDynamic;
}

//===----------------------------------------------------------------------===//
// adapter.route
//===----------------------------------------------------------------------===//

// What the words say of one another.
static LogicalResult verifyWords(RouteOp op) {
  bool isSelectFirst = op.getOrder() == RouterOrder::SelectFirst;
  if (op.getNormalise() == RouterNormalise::Before && isSelectFirst)
    return op.emitOpError("cannot normalise before a selection that comes before the score");
  if (op.getNormalise() != RouterNormalise::None && op.getScore() == RouterScore::None)
    return op.emitOpError("cannot divide logits by their sum, which may be zero");
  bool isAfter = op.getNormalise() == RouterNormalise::After;
  if (op.getScore() == RouterScore::Softmax &&
      (op.getNormalise() == RouterNormalise::Before || (isAfter && isSelectFirst && !op.getNullExperts())))
    return op.emitOpError("normalises what its softmax has normalised");
  if (op.getScore() == RouterScore::None && isSelectFirst)
    return op.emitOpError("has no score that could follow the selection");
  double temperature = op.getTemperature().convertToDouble();
  if (!(temperature > 0) || !std::isfinite(temperature))
    return op.emitOpError("needs a temperature above 0; got ") << temperature;
  if (temperature != 1.0 && op.getScore() == RouterScore::None)
    return op.emitOpError("has a temperature and no score that it could act on");
  bool isLimited =
      op.getSelection() == RouterSelection::Threshold || op.getSelection() == RouterSelection::TopP;
  if (isLimited != op.getLimit().has_value())
    return op.emitOpError("needs a limit for threshold and top_p, and for them alone");
  if (op.getSelection() != RouterSelection::Top && op.getTop())
    return op.emitOpError("has a number of experts, but chooses by ")
           << stringifyRouterSelection(op.getSelection());
  if (op.getSelection() == RouterSelection::All && isSelectFirst)
    return op.emitOpError("chooses all experts, which comes before or after nothing");
  if (op.getSelection() != RouterSelection::TopP)
    return success();
  double limit = op.getLimit()->convertToDouble();
  if (!(limit >= 0 && limit <= 1))
    return op.emitOpError("needs a share from 0 to 1 for top_p; got ") << limit;
  bool isShare = op.getScore() == RouterScore::Softmax || op.getNormalise() == RouterNormalise::Before;
  if (isSelectFirst || !isShare)
    return op.emitOpError(
        "chooses by top_p among what does not add up to 1; score_first with softmax or with "
        "normalise before does");
  return success();
}

LogicalResult RouteOp::verify() {
  auto logits = dyn_cast<RankedTensorType>(getLogits().getType());
  if (logits && !logits.getRank())
    return emitOpError("needs logits with a dimension of experts; got ") << logits;
  int64_t nulls = getNullExperts(), shared = getSharedExperts(), experts = widthOf(getLogits());
  bool isKnown = !ShapedType::isDynamic(experts);
  if (nulls < 0 || shared < 0 || (isKnown && nulls >= experts))
    return emitOpError("has ") << nulls << " null and " << shared << " shared experts beside logits of "
                               << experts;
  if (isSparse() && (getChosen() < 1 || (isKnown && getChosen() > experts)))
    return emitOpError("chooses ") << getChosen() << " of " << experts << " experts";
  if (failed(verifyWords(*this)))
    return failure();
  int64_t width = isSparse() ? shared + getChosen()
                  : isKnown  ? shared + experts - nulls
                             : ShapedType::kDynamic;
  for (Value result : getResults()) {
    auto type = dyn_cast<RankedTensorType>(result.getType());
    if (!type)
      continue;
    SmallVector<int64_t> expected(logits ? logits.getShape() : type.getShape());
    if (!expected.empty())
      expected.back() = width;
    if (!shapesAgree(type.getShape(), expected))
      return emitOpError("has a weight and an id for each chosen expert; got ")
             << getWeights().getType() << " and " << getIds().getType();
  }
  auto weights = dyn_cast<TensorType>(getWeights().getType()), ids = dyn_cast<TensorType>(getIds().getType());
  if ((ids && !isa<IntegerType>(ids.getElementType())) ||
      (logits && weights && weights.getElementType() != logits.getElementType()))
    return emitOpError("has weights of the logits' type and ids that are integers");
  return success();
}

//===----------------------------------------------------------------------===//
// adapter.mix
//===----------------------------------------------------------------------===//

bool MixOp::isAdditive() { return true; }
bool MixOp::dependsOnInput() { return true; }
Value MixOp::materialize(ImplicitLocOpBuilder &, UpdateTarget) { return {}; }

LogicalResult MixOp::verify() {
  int64_t rank = 0;
  for (int64_t block : getBlocks()) {
    if (block < 0)
      return emitOpError("has a block of ") << block << " ranks";
    rank += block;
  }
  if (getBlocks().empty())
    return emitOpError("needs a block for each expert");
  auto lowRank = getSource().getDefiningOp<LowRankOp>();
  auto nothing = getSource().getDefiningOp<SumOp>();
  if (!lowRank && !(nothing && nothing.getSources().empty()))
    return emitOpError("needs the factors of an adapter.low_rank");
  if (lowRank && !shapesAgree(shapeOf(lowRank.getA())[0], rank))
    return emitOpError("has blocks of ")
           << rank << " ranks in all for factors of rank " << shapeOf(lowRank.getA())[0];
  if (getGate() && !shapesAgree(shapeOf(getGate()), 1))
    return emitOpError("needs a gate of one element; got ") << getGate().getType();
  int64_t experts = getBlocks().size();
  if (!getIds()) {
    if (!shapesAgree(widthOf(getWeights()), experts))
      return emitOpError("has ") << widthOf(getWeights()) << " weights for " << experts << " blocks";
    return success();
  }
  auto ids = dyn_cast<TensorType>(getIds().getType());
  if (ids && !isa<IntegerType>(ids.getElementType()))
    return emitOpError("needs ids that are integers");
  if (!shapesAgree(widthOf(getWeights()), widthOf(getIds())))
    return emitOpError("has ") << widthOf(getIds()) << " ids for " << widthOf(getWeights()) << " weights";
  if (auto route = getIds().getDefiningOp<RouteOp>()) {
    int64_t routed = widthOf(route.getLogits());
    int64_t all = route.getSharedExperts() + routed - route.getNullExperts();
    if (!ShapedType::isDynamic(routed) && all != experts)
      return emitOpError("has ") << experts << " blocks for a router over " << all;
  }
  return success();
}

//===----------------------------------------------------------------------===//
// adapter.experts
//===----------------------------------------------------------------------===//

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
    int64_t routed = widthOf(route.getLogits());
    if (!ShapedType::isDynamic(routed))
      routed += route.getSharedExperts();
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
