// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-raise-attention: the nodes that exporters write attention as become adapter.attention. What decides is the
// graph, from the product with values back to that with keys; what differs in anything stays as it is.
#include "lib/Conversion/ONNXToAdapter/AttentionNodes.h"
#include "lib/Conversion/ONNXToAdapter/GraphMatch.h"
#include "lib/Conversion/Passes.h"
#include "lib/Support/ONNX/NodeBuilder.h"
#include <cmath>

namespace adapter {
#define GEN_PASS_DEF_RAISEATTENTIONPASS
#include "lib/Conversion/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

namespace {
// Keys or values as heads read them.
struct Heads {
  Value whole;  // [rows, heads, tokens, width]
  Value shared; // the same, of fewer heads, where each is written out for several; else null
  Value apart;  // [rows, tokens, heads, width], of which whole is to be made, if it is null
};

struct Attention {
  Value query, mask, otherMask;
  Heads keys, values;
  double scale = 1;
  std::optional<double> softcap;
  bool zeroMasked = false;
};
} // namespace

// Whether two dimensions may be of one size.
static bool mayAgree(RankedTensorType a, int64_t i, RankedTensorType b, int64_t j) {
  return a.isDynamicDim(i) || b.isDynamicDim(j) || a.getDimSize(i) == b.getDimSize(j);
}

// [rows, heads, tokens, width] of f32, heads and width known.
static RankedTensorType headsOf(Value value) {
  RankedTensorType type = tensorOf(value);
  bool fits = type && type.getRank() == 4 && type.getElementType().isF32() && !type.isDynamicDim(1) &&
              !type.isDynamicDim(3);
  return fits ? type : RankedTensorType();
}

//===----------------------------------------------------------------------===//
// Keys and values
//===----------------------------------------------------------------------===//

// Reshape(Expand(Unsqueeze(x, 2))) of [rows, kv heads, tokens, width] to as many heads as the result has.
static Value matchRepeat(Value value) {
  onnxir::NodeOp reshape = madeBy(value, "Reshape");
  onnxir::NodeOp expand = reshape ? madeBy(reshape.getInputOrNull(0), "Expand") : onnxir::NodeOp();
  onnxir::NodeOp unsqueeze = expand ? madeBy(expand.getInputOrNull(0), "Unsqueeze") : onnxir::NodeOp();
  if (!unsqueeze || !hasAxis(unsqueeze, 2, 5))
    return {};
  Value source = inputOf(unsqueeze, 0);
  RankedTensorType from = headsOf(source), to = headsOf(value);
  if (!from || !to || !mayAgree(from, 0, to, 0) || !mayAgree(from, 2, to, 2) || !mayAgree(from, 3, to, 3))
    return {};
  int64_t heads = to.getDimSize(1), shared = from.getDimSize(1);
  auto sizes = integersOf(expand.getInputOrNull(1));
  // With that the other dimensions stay as they are: the result has no more elements.
  if (!shared || heads % shared || heads == shared || !sizes || sizes->size() != 5 ||
      (*sizes)[2] != heads / shared)
    return {};
  return source;
}

static std::optional<SmallVector<int64_t>> permutationOf(onnxir::NodeOp node) {
  auto order = dyn_cast_or_null<DenseI64ArrayAttr>(node.getNodeAttr("perm"));
  return order ? std::optional(SmallVector<int64_t>(order.asArrayRef())) : std::nullopt;
}

// What the last two dimensions of are exchanged: at once, with those of heads and tokens, or as a batch of matrices.
static std::optional<Heads> matchTransposed(Value value) {
  Heads heads;
  if (onnxir::NodeOp node = madeBy(value, "Transpose")) {
    auto order = permutationOf(node);
    if (order == SmallVector<int64_t>{0, 1, 3, 2})
      heads.whole = inputOf(node, 0);
    else if (order == SmallVector<int64_t>{0, 2, 3, 1})
      heads.apart = inputOf(node, 0);
    else
      return std::nullopt;
    return heads;
  }
  onnxir::NodeOp apart = madeBy(value, "Reshape");
  onnxir::NodeOp turned = apart ? madeBy(apart.getInputOrNull(0), "Transpose") : onnxir::NodeOp();
  onnxir::NodeOp together = turned && permutationOf(turned) == SmallVector<int64_t>{0, 2, 1}
                                ? madeBy(turned.getInputOrNull(0), "Reshape")
                                : onnxir::NodeOp();
  if (!together)
    return std::nullopt;
  Value source = inputOf(together, 0);
  RankedTensorType from = headsOf(source), matrices = tensorOf(together.getResult(0)), to = tensorOf(value);
  bool fits = from && matrices && to && matrices.getRank() == 3 && to.getRank() == 4 &&
              mayAgree(from, 2, matrices, 1) && mayAgree(from, 3, matrices, 2) && mayAgree(from, 2, to, 3) &&
              mayAgree(from, 3, to, 2) && mayAgree(from, 0, to, 0) && mayAgree(from, 1, to, 1);
  // A batch of matrices has all rows and heads, and is taken apart as it was put together.
  if (!fits || matrices.isDynamicDim(2) || to.isDynamicDim(1) || to.isDynamicDim(2))
    return std::nullopt;
  heads.whole = source;
  return heads;
}

static void findShared(Heads &heads) {
  if (heads.whole)
    heads.shared = matchRepeat(heads.whole);
}

//===----------------------------------------------------------------------===//
// Scores
//===----------------------------------------------------------------------===//

// Takes factors off a value that is multiplied or divided by scalars.
static Value unscaled(Value value, double &scale) {
  for (;;) {
    onnxir::NodeOp product = madeBy(value, "Mul"), quotient = madeBy(value, "Div");
    Value next;
    for (unsigned side : {0u, 1u})
      if (product && !next)
        if (std::optional<double> factor = scalarOf(product.getInputOrNull(side))) {
          scale *= *factor;
          next = inputOf(product, 1 - side);
        }
    if (quotient)
      if (std::optional<double> divisor = scalarOf(quotient.getInputOrNull(1))) {
        scale /= *divisor;
        next = inputOf(quotient, 0);
      }
    if (!next)
      return before(value);
    value = next;
  }
}

// softcap * tanh(x): x, which is the score divided by the softcap.
static Value uncapped(Value value, std::optional<double> &softcap) {
  onnxir::NodeOp product = madeBy(value, "Mul");
  for (unsigned side : {0u, 1u}) {
    onnxir::NodeOp tanh = product ? madeBy(product.getInputOrNull(side), "Tanh") : onnxir::NodeOp();
    std::optional<double> cap = tanh ? scalarOf(product.getInputOrNull(1 - side)) : std::nullopt;
    if (!cap || !(*cap > 0))
      continue;
    softcap = cap;
    return inputOf(tanh, 0);
  }
  return value;
}

// The product of queries and keys, below factors and a cap.
static bool matchProduct(Value value, Attention &found) {
  std::optional<double> softcap;
  Value below = uncapped(value, softcap);
  double scale = softcap.value_or(1);
  Value inner = unscaled(below, scale);
  onnxir::NodeOp product = madeBy(inner, "MatMul");
  if (!product || product.getInputs().size() != 2)
    return false;
  found.query = unscaled(inputOf(product, 0), scale);
  double keyScale = 1;
  Value right = unscaled(inputOf(product, 1), keyScale);
  std::optional<Heads> keys = matchTransposed(right);
  if (!keys || !headsOf(found.query))
    return false;
  // Keys that are scaled before they are transposed.
  if (keys->whole)
    keys->whole = unscaled(keys->whole, keyScale);
  found.keys = *keys;
  findShared(found.keys);
  found.scale = scale * keyScale;
  found.softcap = softcap;
  return std::isfinite(found.scale);
}

static bool matchScores(Value value, Attention &found, unsigned masks = 0) {
  if (matchProduct(value, found))
    return true;
  onnxir::NodeOp sum = madeBy(value, "Add");
  if (!sum || masks == 2)
    return false;
  for (unsigned side : {0u, 1u}) {
    RankedTensorType mask = tensorOf(inputOf(sum, 1 - side));
    if (!mask || mask.getRank() > 4 || !mask.getElementType().isF32() ||
        !matchScores(inputOf(sum, side), found, masks + 1))
      continue;
    (found.mask ? found.otherMask : found.mask) = inputOf(sum, 1 - side);
    return true;
  }
  return false;
}

// The softmax of scores over keys, perhaps with 0 in the place of NaN.
static onnxir::NodeOp matchSoftmax(Value value, bool &zeroMasked) {
  onnxir::NodeOp softmax = madeBy(value, "Softmax");
  if (onnxir::NodeOp where = madeBy(value, "Where")) {
    onnxir::NodeOp test = madeBy(where.getInputOrNull(0), "IsNaN");
    softmax = madeBy(where.getInputOrNull(2), "Softmax");
    if (!test || !softmax || inputOf(test, 0) != softmax.getResult(0) ||
        scalarOf(where.getInputOrNull(1)) != 0.0)
      return {};
    zeroMasked = true;
  }
  RankedTensorType type = softmax ? tensorOf(softmax.getResult(0)) : RankedTensorType();
  if (!type || type.getRank() != 4)
    return {};
  int64_t axis = attributeOf(softmax, "axis", softmax.getOpsetVersion() < 13 ? 1 : -1);
  return axis == -1 || axis == 3 ? softmax : onnxir::NodeOp();
}

static std::optional<Attention> matchAttention(onnxir::NodeOp product) {
  if (product.getInputs().size() != 2 || !headsOf(product.getResult(0)))
    return std::nullopt;
  Attention found;
  onnxir::NodeOp softmax = matchSoftmax(product.getInputs()[0], found.zeroMasked);
  // Probabilities that something else reads are made anyhow.
  if (!softmax || !product.getInputs()[0].hasOneUse())
    return std::nullopt;
  found.values.whole = inputOf(product, 1);
  findShared(found.values);
  if (!headsOf(found.values.whole) || !matchScores(inputOf(softmax, 0), found))
    return std::nullopt;
  // Both are shared by the same heads, or neither is taken as shared.
  bool shared = found.keys.shared && found.values.shared &&
                headsOf(found.keys.shared).getDimSize(1) == headsOf(found.values.shared).getDimSize(1);
  if (shared) {
    found.keys.whole = found.keys.shared;
    found.values.whole = found.values.shared;
  }
  RankedTensorType query = headsOf(found.query), values = headsOf(found.values.whole);
  RankedTensorType result = headsOf(product.getResult(0));
  RankedTensorType keys = found.keys.whole ? headsOf(found.keys.whole) : tensorOf(found.keys.apart);
  if (!keys || keys.getRank() != 4 || !keys.getElementType().isF32())
    return std::nullopt;
  int64_t heads = found.keys.whole ? 1 : 2, tokens = 3 - heads;
  bool fits =
      !keys.isDynamicDim(heads) && !keys.isDynamicDim(3) && keys.getDimSize(heads) == values.getDimSize(1) &&
      query.getDimSize(1) % values.getDimSize(1) == 0 && query.getDimSize(1) == result.getDimSize(1) &&
      keys.getDimSize(3) == query.getDimSize(3) && values.getDimSize(3) == result.getDimSize(3) &&
      mayAgree(query, 0, keys, 0) && mayAgree(query, 0, values, 0) && mayAgree(query, 0, result, 0) &&
      mayAgree(query, 2, result, 2) && mayAgree(keys, tokens, values, 2);
  for (Value mask : {found.mask, found.otherMask})
    if (mask) {
      RankedTensorType type = tensorOf(mask);
      int64_t rank = type.getRank();
      // One column for all keys changes nothing and is not a mask; more rows than scores have would make more of them.
      fits &= rank >= 1 && type.getDimSize(rank - 1) != 1 && mayAgree(type, rank - 1, values, 2);
      for (int64_t dim = 0; dim + 1 < rank; ++dim) {
        int64_t size = type.getDimSize(dim), of = query.getDimSize(dim + 4 - rank);
        fits &= ShapedType::isDynamic(size) || size == 1 || ShapedType::isDynamic(of) || size == of;
      }
    }
  return fits ? std::optional(found) : std::nullopt;
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

// The type of a sum of two masks.
static RankedTensorType sumType(RankedTensorType a, RankedTensorType b) {
  int64_t rank = std::max(a.getRank(), b.getRank());
  SmallVector<int64_t> shape;
  for (int64_t dim = 0; dim < rank; ++dim) {
    auto size = [&](RankedTensorType type) {
      int64_t own = dim - rank + type.getRank();
      return own < 0 ? 1 : type.getDimSize(own);
    };
    int64_t x = size(a), y = size(b);
    shape.push_back(x == 1 ? y : y == 1 || ShapedType::isDynamic(y) ? x : y);
  }
  return RankedTensorType::get(shape, a.getElementType());
}

namespace {
struct RaiseAttentionPass final : adapter::impl::RaiseAttentionPassBase<RaiseAttentionPass> {
  using Base::Base;

  void raise(onnxir::NodeOp product, Attention &found) {
    OpBuilder builder(product);
    NodeBuilder b(builder, product.getLoc(), "attention_" + std::to_string(numRaised), "attention");
    if (!found.keys.whole) {
      RankedTensorType type = tensorOf(found.keys.apart);
      ArrayRef<int64_t> from = type.getShape();
      found.keys.whole =
          b.node("Transpose", {found.keys.apart},
                 RankedTensorType::get({from[0], from[2], from[1], from[3]}, type.getElementType()),
                 NamedAttribute(builder.getStringAttr("perm"), builder.getDenseI64ArrayAttr({0, 2, 1, 3})));
    }
    if (found.otherMask)
      found.mask = b.node("Add", {found.mask, found.otherMask},
                          sumType(tensorOf(found.mask), tensorOf(found.otherMask)));
    auto number = [&](double value) { return builder.getF32FloatAttr(static_cast<float>(value)); };
    auto attention =
        AttentionOp::create(builder, product.getLoc(), product.getResult(0).getType(), found.query,
                            found.keys.whole, found.values.whole, found.mask, number(found.scale),
                            found.softcap ? number(*found.softcap) : FloatAttr(), UnitAttr(), IntegerAttr(),
                            found.zeroMasked ? builder.getUnitAttr() : UnitAttr(), DenseI64ArrayAttr());
    product.getResult(0).replaceAllUsesWith(attention.getResult());
    ++numRaised;
  }

  void runOnOperation() override {
    SmallVector<onnxir::NodeOp> nodes;
    getOperation()->walk([&](onnxir::NodeOp node) {
      if (node.getOpType() == "Attention" && node.getDomain().empty())
        nodes.push_back(node);
    });
    for (onnxir::NodeOp node : nodes)
      numRaised += raiseAttentionNode(node);
    SmallVector<std::pair<onnxir::NodeOp, Attention>> all;
    getOperation()->walk([&](onnxir::NodeOp node) {
      if (node.getOpType() == "MatMul" && node.getDomain().empty())
        if (std::optional<Attention> found = matchAttention(node))
          all.emplace_back(node, *found);
    });
    llvm::SetVector<Block *> changed;
    for (auto &[product, found] : all) {
      raise(product, found);
      changed.insert(product->getBlock());
    }
    for (Block *block : changed)
      eraseDeadNodes(*block);
  }
};
} // namespace
