// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter.route as nodes, step by step as its attributes say: temperature, score, sum, selection, null experts, sum,
// shared experts. Works on logits of any rank, over their last dimension.
#include "lib/Conversion/AdapterToONNX/ExpandRoutes.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Support/ONNX/NodeBuilder.h"
#include <limits>

using namespace mlir;
using namespace adapter;

namespace {
class RouteExpander {
public:
  RouteExpander(OpBuilder &builder, RouteOp op, const std::string &name)
      : op(op), builder(builder), b(builder, op.getLoc(), name, "expanded"),
        element(elementTypeOf(op.getLogits())), nulls(op.getNullExperts()), shared(op.getSharedExperts()) {}
  void run();
  Value runPairwise();

private:
  NamedAttribute attribute(StringRef name, int64_t value) {
    return {builder.getStringAttr(name), builder.getI64IntegerAttr(value)};
  }
  Type booleans(Value like) { return typeLike(like, widthOf(like), builder.getI1Type()); }
  Value zero() { return b.constant(0.0, op.getLogits()); }

  Value score(Value x) {
    if (op.getScore() == RouterScore::Softmax)
      return b.node("Softmax", x, x.getType(), attribute("axis", -1));
    return op.getScore() == RouterScore::Sigmoid ? b.node("Sigmoid", {x}) : x;
  }
  // Divided by the sum; by 1 where that is 0 and may be.
  Value divided(Value x, bool mayBeEmpty) {
    Value sum = b.node("ReduceSum", {x, b.integers({-1})}, withWidth(x.getType(), 1));
    if (mayBeEmpty) {
      Value none = b.node("Equal", {sum, zero()}, booleans(sum));
      sum = b.node("Where", {none, b.constant(1.0, sum), sum}, sum.getType());
    }
    return b.node("Div", {x, sum});
  }
  std::pair<Value, Value> best(Value x, Value count, int64_t width) {
    ResultRange results =
        b.nodes("TopK", {x, count}, {withWidth(x.getType(), width), typeLike(x, width, builder.getI64Type())},
                attribute("axis", -1));
    return {results[0], results[1]};
  }
  // How many logits there are, as a tensor of one element.
  Value countOf(Value x) {
    if (int64_t width = widthOf(x); !ShapedType::isDynamic(width))
      return b.integers({width});
    Type one = RankedTensorType::get({1}, builder.getI64Type());
    Value shape = b.node("Shape", x, RankedTensorType::get({ShapedType::kDynamic}, builder.getI64Type()));
    return b.node("Slice", {shape, b.integers({-1}), b.integers({std::numeric_limits<int64_t>::max()})}, one);
  }
  void chooseSome(Value scores, Value logits);
  void chooseAny(Value scores, Value logits);
  Value betterOnes(Value x, Value &others);
  Value limited(Value scores, Value logits, Value chosen);
  void drop();
  void addShared();
  Value withSharedShape(Value like, Value value, Type element);

  RouteOp op;
  OpBuilder &builder;
  NodeBuilder b;
  Type element;
  int64_t nulls, shared;
  Value weights, ids;
};
} // namespace

// A fixed number of experts.
void RouteExpander::chooseSome(Value scores, Value logits) {
  bool scoreFirst = op.getOrder() == RouterOrder::ScoreFirst;
  int64_t chosen = op.getChosen();
  std::tie(weights, ids) = best(scoreFirst ? scores : logits, b.integers({chosen}), chosen);
  if (!scoreFirst)
    weights = score(weights);
  if (nulls) {
    Value count = countOf(logits);
    Value real = b.node("Less", {ids, b.node("Sub", {count, b.integers({nulls})})}, booleans(ids));
    weights = b.node("Where", {real, weights, zero()}, weights.getType());
  }
  if (op.getNormalise() == RouterNormalise::After)
    weights = divided(weights, op.mayBeEmpty());
}

// Weights of all experts, 0 where one is not chosen.
Value RouteExpander::limited(Value scores, Value logits, Value chosen) {
  Value weights = scores;
  if (op.getOrder() == RouterOrder::SelectFirst && op.getScore() == RouterScore::Softmax) {
    // Over the chosen ones alone; where there is none this is no number, and not taken.
    Value none = b.constant(-std::numeric_limits<double>::infinity(), logits);
    weights = score(b.node("Where", {chosen, logits, none}, logits.getType()));
  } else if (op.getOrder() == RouterOrder::SelectFirst) {
    weights = score(logits);
  }
  return b.node("Where", {chosen, weights, zero()}, weights.getType());
}

// For each expert, [..., experts, experts], 1 for those that are better, and for the lower ones of equals.
Value RouteExpander::betterOnes(Value x, Value &others) {
  auto known = cast<RankedTensorType>(x.getType());
  int64_t count = known.getShape().back();
  auto squared = [&](int64_t rows, int64_t columns, Type element) {
    SmallVector<int64_t> shape(known.getShape().drop_back());
    shape.append({rows, columns});
    return RankedTensorType::get(shape, element);
  };
  checkpoint::Tensor lower = checkpoint::allocateTensor(checkpoint::DType::F32, {count, count});
  auto *entries = reinterpret_cast<float *>(checkpoint::mutableData(lower));
  for (int64_t i = 0; i < count; ++i)
    for (int64_t j = 0; j < count; ++j)
      entries[i * count + j] = j < i ? 1.0f : 0.0f;
  lower.key = "lower." + std::to_string(count);
  Type element = known.getElementType(), boolean = builder.getI1Type();
  Value own = b.node("Unsqueeze", {x, b.integers({-1})}, squared(count, 1, element));
  others = b.node("Unsqueeze", {x, b.integers({-2})}, squared(1, count, element));
  Value equal = b.node("Equal", {others, own}, squared(count, count, boolean));
  Value tied =
      b.node("Where", {equal, b.parameter(lower.key, lower), zero()}, squared(count, count, element));
  Value better = b.node("Greater", {others, own}, squared(count, count, boolean));
  return b.node("Where", {better, b.constant(1.0, x), tied}, squared(count, count, element));
}

// Any number of experts: weights of all.
void RouteExpander::chooseAny(Value scores, Value logits) {
  bool scoreFirst = op.getOrder() == RouterOrder::ScoreFirst;
  double limit = op.getLimit() ? op.getLimit()->convertToDouble() : 0.0;
  if (op.getSelection() == RouterSelection::TopP) {
    // Sorted; one is chosen as long as those before it do not exceed the share.
    auto [sorted, order] = best(scores, countOf(scores), widthOf(scores));
    Type i64 = RankedTensorType::get({}, builder.getI64Type());
    Value last = b.node("Squeeze", b.integers({-1}), i64);
    Value before = b.node("CumSum", {sorted, last}, sorted.getType(), attribute("exclusive", 1));
    Value open = b.node("LessOrEqual", {before, b.constant(limit, sorted)}, booleans(sorted));
    Value kept = b.node("Where", {open, sorted, zero()}, sorted.getType());
    weights = b.node("ScatterElements", {scores, order, kept}, scores.getType(), attribute("axis", -1));
  } else if (op.getSelection() == RouterSelection::Threshold) {
    Value judged = scoreFirst ? scores : logits;
    weights = limited(scores, logits,
                      b.node("GreaterOrEqual", {judged, b.constant(limit, judged)}, booleans(judged)));
  } else {
    weights = scores;
  }
  drop();
}

// The null experts, and the sum.
void RouteExpander::drop() {
  if (nulls) {
    int64_t width = widthOf(weights);
    width = ShapedType::isDynamic(width) ? width : width - nulls;
    weights = b.node("Slice", {weights, b.integers({0}), b.integers({-nulls}), b.integers({-1})},
                     withWidth(weights.getType(), width));
  }
  if (op.getNormalise() == RouterNormalise::After)
    weights = divided(weights, op.mayBeEmpty());
}

// Ones, or numbers, in front of every row of `like`.
Value RouteExpander::withSharedShape(Value like, Value value, Type element) {
  Type sizes = RankedTensorType::get({ShapedType::kDynamic}, builder.getI64Type());
  Value shape = b.node("Shape", like, sizes);
  Value rows = b.node("Slice", {shape, b.integers({0}), b.integers({-1})}, sizes);
  Value whole = b.node("Concat", {rows, b.integers({shared})}, sizes, attribute("axis", 0));
  return b.node("Expand", {value, whole}, typeLike(like, shared, element));
}

void RouteExpander::addShared() {
  int64_t width = widthOf(weights);
  width = ShapedType::isDynamic(width) ? width : width + shared;
  Value ones = withSharedShape(weights, b.constant(1.0, weights), element);
  weights = b.node("Concat", {ones, weights}, withWidth(weights.getType(), width), attribute("axis", -1));
  if (!ids)
    return;
  SmallVector<int64_t> numbers = llvm::to_vector(llvm::seq<int64_t>(0, shared));
  Value first = withSharedShape(ids, b.integers(numbers), builder.getI64Type());
  Value rest = b.node("Add", {ids, b.integers({shared})});
  ids = b.node("Concat", {first, rest}, withWidth(ids.getType(), width), attribute("axis", -1));
}

void RouteExpander::run() {
  double temperature = op.getTemperature().convertToDouble();
  Value logits = op.getLogits();
  Value scaled = temperature == 1.0 ? logits : b.node("Div", {logits, b.constant(temperature, logits)});
  // Which experts are best does not depend on the temperature; a threshold is one of logits as they are.
  bool scoreFirst = op.getOrder() == RouterOrder::ScoreFirst;
  Value scores = scoreFirst ? score(scaled) : scaled;
  if (op.getNormalise() == RouterNormalise::Before)
    scores = divided(scores, false);
  if (op.isSparse())
    chooseSome(scores, scaled);
  else
    chooseAny(scores, scaled);
  if (shared)
    addShared();
  if (!ids && !op.getIds().use_empty()) {
    int64_t width = widthOf(op.getWeights());
    Type i64 = RankedTensorType::get({}, builder.getI64Type());
    Value count = b.node("Squeeze", countOf(weights), i64);
    Value zeroId = b.node("Squeeze", b.integers({0}), i64), oneId = b.node("Squeeze", b.integers({1}), i64);
    Value range =
        b.node("Range", {zeroId, count, oneId}, RankedTensorType::get({width}, builder.getI64Type()));
    Value shape =
        b.node("Shape", weights, RankedTensorType::get({ShapedType::kDynamic}, builder.getI64Type()));
    ids = b.node("Expand", {range, shape}, typeLike(weights, width, builder.getI64Type()));
  }
  op.getWeights().replaceAllUsesWith(weights);
  Type wanted = getElementTypeOrSelf(op.getIds().getType());
  if (ids && wanted.isInteger(32)) // TensorProto.INT32
    ids = b.node("Cast", ids, typeLike(ids, widthOf(ids), wanted), attribute("to", 6));
  if (ids)
    op.getIds().replaceAllUsesWith(ids);
  op.erase();
}

Value RouteExpander::runPairwise() {
  double temperature = op.getTemperature().convertToDouble();
  Value logits = op.getLogits();
  logits = temperature == 1.0 ? logits : b.node("Div", {logits, b.constant(temperature, logits)});
  bool scoreFirst = op.getOrder() == RouterOrder::ScoreFirst;
  Value scores = scoreFirst ? score(logits) : logits, others;
  if (op.getNormalise() == RouterNormalise::Before)
    scores = divided(scores, false);
  Value better = betterOnes(scores, others);
  bool byShare = op.getSelection() == RouterSelection::TopP;
  if (byShare)
    better = b.node("Mul", {better, others});
  NamedAttribute keep = attribute("keepdims", 0);
  Value sum = b.node("ReduceSum", {better, b.integers({-1})}, scores.getType(), keep);
  double limit = byShare ? op.getLimit()->convertToDouble() : static_cast<double>(op.getChosen());
  Value chosen = b.node(byShare ? "LessOrEqual" : "Less", {sum, b.constant(limit, sum)}, booleans(sum));
  weights = limited(scores, logits, chosen);
  drop();
  if (shared)
    addShared();
  return weights;
}

Value adapter::weighPairwise(RouteOp op, const std::string &name) {
  auto logits = dyn_cast<RankedTensorType>(op.getLogits().getType());
  bool isOrdered = op.isSparse() || op.getSelection() == RouterSelection::TopP;
  if (!isOrdered || !logits || logits.isDynamicDim(logits.getRank() - 1) || !logits.getElementType().isF32())
    return {};
  OpBuilder builder(op);
  return RouteExpander(builder, op, name).runPairwise();
}

void adapter::expandRoute(RouteOp op, const std::string &name) {
  OpBuilder builder(op);
  RouteExpander(builder, op, name).run();
}
