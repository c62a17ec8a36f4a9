// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-raise-experts: finds mixtures of experts that were exported token by token: each token's expert weights
// are gathered and multiplied with it alone. The pattern hangs on the sum over a token's experts and is followed
// upwards; whatever differs from it anywhere is left as it is.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "lib/Attach/ModuleTable.h"
#include "lib/Conversion/ONNXToAdapter/GraphMatch.h"
#include "lib/Conversion/Passes.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace adapter {
#define GEN_PASS_DEF_RAISEEXPERTSPASS
#include "lib/Conversion/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

namespace {
// A product of each row with the weight of its own expert, and what was found out about it.
struct GatheredProduct {
  Value rows;    // [pairs, in]
  Value experts; // [pairs]
  Value weight;  // [experts, out, in], or transposed
  bool transposed = false;
};

struct Experts {
  Value input, ids, weights;
  GatheredProduct up, down;
  checkpoint::Activation activation = checkpoint::Activation::Identity;
  bool gated = false;
};

struct Router {
  Value logits;
  RouterScore score = RouterScore::None;
  RouterOrder order = RouterOrder::ScoreFirst;
  RouterNormalise normalise = RouterNormalise::None;
  int64_t top = 0;
};
} // namespace

// Gather or GatherND of whole matrices out of a parameter of rank 3: the numbers of the matrices.
static Value matchGather(Value value, Value &weight) {
  Value ids;
  if (auto gather = madeBy(value, "Gather")) {
    if (attributeOf(gather, "axis", 0) != 0)
      return {};
    ids = inputOf(gather, 1);
    weight = gather.getInputs()[0];
  } else if (auto gather = madeBy(value, "GatherND")) {
    auto column = madeBy(inputOf(gather, 1), "Unsqueeze");
    if (attributeOf(gather, "batch_dims", 0) != 0 || !column || !hasAxis(column, 1, 2))
      return {};
    ids = inputOf(column, 0);
    weight = gather.getInputs()[0];
  }
  // Only weights that are known now are worth packing.
  if (!ids || !hasRank(ids, 1) || !hasRank(weight, 3) || !weight.getDefiningOp<ParameterOp>() ||
      !tensorOf(weight).hasStaticShape() || !isReadBy(before(value), {"MatMul"}))
    return {};
  return ids;
}

// Squeeze(MatMul(gathered, Unsqueeze(rows, -1)), -1), or the same from the other side.
static std::optional<GatheredProduct> matchProduct(Value value) {
  auto squeeze = madeBy(value, "Squeeze");
  auto product = squeeze ? madeBy(inputOf(squeeze, 0), "MatMul") : onnxir::NodeOp();
  if (!product || !isReadBy(product.getResult(0), {"Squeeze"}))
    return std::nullopt;
  for (bool transposed : {false, true}) {
    GatheredProduct found;
    found.transposed = transposed;
    int64_t axis = transposed ? 1 : 2;
    auto rows = madeBy(inputOf(product, transposed ? 0 : 1), "Unsqueeze");
    if (!rows || !hasAxis(rows, axis, 3) || !hasAxis(squeeze, axis, 3))
      continue;
    found.rows = inputOf(rows, 0);
    found.experts = matchGather(inputOf(product, transposed ? 1 : 0), found.weight);
    if (found.experts && hasRank(found.rows, 2))
      return found;
  }
  return std::nullopt;
}

// The tensor [tokens, count] that was flattened to `value`.
static Value matchFlattened(Value value, int64_t count) {
  auto reshape = madeBy(value, "Reshape");
  if (!reshape || constantsOf(inputOf(reshape, 1)) != SmallVector<int64_t>{-1})
    return {};
  Value source = inputOf(reshape, 0);
  return hasRank(source, 2) && tensorOf(source).getDimSize(1) == count ? source : Value();
}

// The tensor [tokens, width] of which each row was repeated `count` times.
static Value matchRepeated(Value value, int64_t count, int64_t width) {
  Value repeated;
  if (auto flatten = madeBy(value, "Flatten")) {
    if (attributeOf(flatten, "axis", 1) == 2)
      repeated = inputOf(flatten, 0);
  } else if (auto reshape = madeBy(value, "Reshape")) {
    auto shape = integersOf(inputOf(reshape, 1));
    if (shape && shape->size() == 2 && shape->back() == width)
      repeated = inputOf(reshape, 0);
  }
  if (!repeated || !hasRank(repeated, 3))
    return {};
  auto repeat = madeBy(repeated, "Expand");
  if (!repeat)
    repeat = madeBy(repeated, "Tile");
  if (!repeat || constantsOf(inputOf(repeat, 1)) != SmallVector<int64_t>{1, count, 1})
    return {};
  auto unsqueeze = madeBy(inputOf(repeat, 0), "Unsqueeze");
  if (!unsqueeze || !hasAxis(unsqueeze, 1, 3) || !hasRank(inputOf(unsqueeze, 0), 2))
    return {};
  return inputOf(unsqueeze, 0);
}

// The two halves of a matrix of `width` columns: by Split, or by two slices.
static bool areHalves(Value first, Value second, Value &whole, int64_t width) {
  auto split = madeBy(first, "Split");
  if (split) {
    if (split != madeBy(second, "Split") || split.getNumResults() != 2 ||
        before(first) != split.getResult(0) || before(second) != split.getResult(1))
      return false;
    int64_t axis = attributeOf(split, "axis", 0);
    if (split.getInputOrNull(1) &&
        constantsOf(inputOf(split, 1)) != SmallVector<int64_t>{width / 2, width / 2})
      return false;
    whole = inputOf(split, 0);
    return (axis == 1 || axis == -1) && !split.getNodeAttr("split");
  }
  auto low = madeBy(first, "Slice"), high = madeBy(second, "Slice");
  if (!low || !high || inputOf(low, 0) != inputOf(high, 0))
    return false;
  whole = inputOf(low, 0);
  auto covers = [&](onnxir::NodeOp slice, int64_t begin, int64_t end) {
    auto axes = constantsOf(inputOf(slice, 3)), to = constantsOf(inputOf(slice, 2));
    if (Value steps = inputOf(slice, 4); steps && constantsOf(steps) != SmallVector<int64_t>{1})
      return false;
    return axes && axes->size() == 1 && (axes->front() == 1 || axes->front() == -1) &&
           constantsOf(inputOf(slice, 1)) == SmallVector<int64_t>{begin} && to && to->size() == 1 &&
           (to->front() == end || (end == width && to->front() > end));
  };
  return covers(low, 0, width / 2) && covers(high, width / 2, width);
}

// From what the second product reads to what the first gives, of `width` columns.
static Value matchBetween(Value value, Experts &found, int64_t width, int64_t inner) {
  static constexpr StringRef readers[] = {"Split", "Slice", "Sigmoid", "Mul", "Relu", "Gelu", "Swish"};
  Value whole;
  if (width == inner) {
    whole = matchActivation(value, found.activation);
    if (!whole)
      whole = value;
  } else if (auto product = madeBy(value, "Mul"); product && width == 2 * inner) {
    found.gated = true;
    for (unsigned side : {0u, 1u}) {
      Value gate = matchActivation(inputOf(product, side), found.activation);
      if (gate && areHalves(gate, inputOf(product, 1 - side), whole, width))
        break;
      whole = {};
    }
  }
  return whole && isReadBy(whole,
                           width == inner && whole == value ? ArrayRef<StringRef>{"Unsqueeze"} : readers)
             ? whole
             : Value();
}

// ReduceSum(Reshape(Mul(product, Unsqueeze(weights)), [tokens, count, width]), 1).
static std::optional<Experts> matchExperts(onnxir::NodeOp sum) {
  if (sum.getOpType() != "ReduceSum" || !sum.getDomain().empty() || attributeOf(sum, "keepdims", 1) ||
      !hasAxis(sum, 1, 3) || !hasRank(sum.getResult(0), 2))
    return std::nullopt;
  auto reshape = madeBy(inputOf(sum, 0), "Reshape");
  auto weighted = reshape ? madeBy(inputOf(reshape, 0), "Mul") : onnxir::NodeOp();
  if (!weighted || !isReadBy(reshape.getResult(0), {"ReduceSum"}) ||
      !isReadBy(weighted.getResult(0), {"Reshape"}))
    return std::nullopt;
  auto shape = integersOf(inputOf(reshape, 1));
  if (!shape || shape->size() != 3 || !(*shape)[1] || *(*shape)[1] < 1)
    return std::nullopt;
  int64_t count = *(*shape)[1];
  for (unsigned side : {0u, 1u}) {
    Experts found;
    std::optional<GatheredProduct> down = matchProduct(inputOf(weighted, side));
    auto column = madeBy(inputOf(weighted, 1 - side), "Unsqueeze");
    if (!down || !column || !hasAxis(column, 1, 2) || !isReadBy(inputOf(weighted, side), {"Mul"}))
      continue;
    found.down = *down;
    ArrayRef<int64_t> downSizes = tensorOf(down->weight).getShape();
    int64_t outer = downSizes[down->transposed ? 2 : 1], inner = downSizes[down->transposed ? 1 : 2];
    found.weights = matchFlattened(inputOf(column, 0), count);
    found.ids = matchFlattened(down->experts, count);
    if ((*shape)[2] != outer || !found.weights || !found.ids)
      return std::nullopt;
    // The first product's width follows from its weight, which is found by way of it.
    for (int64_t width : {2 * inner, inner}) {
      Value first = matchBetween(down->rows, found, width, inner);
      std::optional<GatheredProduct> up = first ? matchProduct(first) : std::nullopt;
      if (!up || up->experts != down->experts || up->transposed != down->transposed)
        continue;
      ArrayRef<int64_t> upSizes = tensorOf(up->weight).getShape();
      found.input = matchRepeated(up->rows, count, upSizes[up->transposed ? 1 : 2]);
      if (!found.input || upSizes[up->transposed ? 2 : 1] != width || upSizes[0] != downSizes[0])
        return std::nullopt;
      found.up = *up;
      found.gated = width != inner;
      return found;
    }
    return std::nullopt;
  }
  return std::nullopt;
}

// TopK over scores of the router, whose results may be divided by their sum.
static std::optional<Router> matchRouter(Value weights, Value ids) {
  auto top = madeBy(ids, "TopK");
  if (!top || top.getNumResults() != 2 || before(ids) != top.getResult(1) || !attributeOf(top, "largest", 1))
    return std::nullopt;
  Router found;
  Value chosen = before(weights), scores = inputOf(top, 0);
  auto count = constantsOf(inputOf(top, 1));
  int64_t axis = attributeOf(top, "axis", -1);
  if (!hasRank(scores, 2) || (axis != 1 && axis != -1) || !count || count->size() != 1)
    return std::nullopt;
  found.top = count->front();
  auto isOverRows = [](onnxir::NodeOp softmax) {
    int64_t axis = attributeOf(softmax, "axis", -1);
    return axis == 1 || axis == -1;
  };
  if (auto softmax = madeBy(chosen, "Softmax"); softmax && isOverRows(softmax)) {
    found.order = RouterOrder::SelectFirst;
    found.score = RouterScore::Softmax;
    chosen = inputOf(softmax, 0);
  } else if (auto quotient = madeBy(chosen, "Div")) {
    auto sum = madeBy(inputOf(quotient, 1), "ReduceSum");
    chosen = inputOf(quotient, 0);
    if (!sum || inputOf(sum, 0) != chosen || !hasAxis(sum, 1, 2) || !attributeOf(sum, "keepdims", 1))
      return std::nullopt;
    found.normalise = RouterNormalise::After;
  }
  if (chosen != top.getResult(0))
    return std::nullopt;
  found.logits = scores;
  if (found.order == RouterOrder::ScoreFirst) {
    if (auto softmax = madeBy(scores, "Softmax"); softmax && isOverRows(softmax)) {
      found.score = RouterScore::Softmax;
      found.logits = inputOf(softmax, 0);
    } else if (auto sigmoid = madeBy(scores, "Sigmoid")) {
      found.score = RouterScore::Sigmoid;
      found.logits = inputOf(sigmoid, 0);
    } else if (found.normalise != RouterNormalise::None) {
      return std::nullopt;
    }
  }
  RankedTensorType logits = tensorOf(found.logits), given = tensorOf(weights);
  if (!logits || !given || logits.getElementType() != given.getElementType() || found.top < 1 ||
      (!logits.isDynamicDim(1) && found.top > logits.getDimSize(1)))
    return std::nullopt;
  return found;
}

namespace {
struct RaiseExpertsPass final : adapter::impl::RaiseExpertsPassBase<RaiseExpertsPass> {
  using Base::Base;

  void runOnOperation() override {
    SmallVector<onnxir::NodeOp> sums;
    getOperation()->walk([&](onnxir::NodeOp node) {
      if (node.getOpType() == "ReduceSum")
        sums.push_back(node);
    });
    llvm::SetVector<Block *> changed;
    for (onnxir::NodeOp sum : sums)
      if (std::optional<Experts> found = matchExperts(sum)) {
        raise(sum, *found);
        changed.insert(sum->getBlock());
        ++numRaised;
      }
    for (Block *block : changed)
      eraseDeadNodes(*block);
  }

  void raise(onnxir::NodeOp sum, Experts &found) {
    OpBuilder b(sum);
    if (std::optional<Router> router = matchRouter(found.weights, found.ids)) {
      auto route =
          RouteOp::create(b, sum.getLoc(), found.weights.getType(), found.ids.getType(), router->logits,
                          router->score, router->order, RouterSelection::Top, router->top, FloatAttr(),
                          router->normalise, RouterScope::Token, llvm::APFloat(1.0));
      found.weights = route.getWeights();
      found.ids = route.getIds();
      ++numRouters;
    }
    auto experts = ExpertsOp::create(b, sum.getLoc(), sum.getResult(0).getType(), found.input, found.ids,
                                     found.weights, found.up.weight, found.down.weight, found.activation,
                                     found.gated, found.up.transposed);
    if (std::string layer = modulePathOf(sum); !layer.empty())
      experts.setLayer(layer);
    sum.getResult(0).replaceAllUsesWith(experts.getResult());
  }
};
} // namespace
