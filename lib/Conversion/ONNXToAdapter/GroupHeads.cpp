// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-group-heads: attention whose query heads share keys and values reads them once for all heads of a group. A
// product of q [rows, heads, n, k] with y [rows, kv heads, k, m] that is written out for each head is the product of q
// as [rows, kv heads, heads / kv heads * n, k] with y as it is.
#include "lib/Conversion/ONNXToAdapter/GraphMatch.h"
#include "lib/Conversion/Passes.h"
#include "lib/Support/ONNX/NodeBuilder.h"

namespace adapter {
#define GEN_PASS_DEF_GROUPHEADSPASS
#include "lib/Conversion/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

namespace {
// What a product's second operand is made of: a tensor that is written out for each head, then perhaps transposed in its
// last two dimensions, then perhaps scaled.
struct Repeated {
  Value source; // [rows, kv heads, tokens, width]
  bool isTransposed = false;
  Value factor; // may be null
};
} // namespace

// The name of a dimension, "" where it has none.
static StringRef nameOf(RankedTensorType type, int64_t dim) {
  auto dims = dyn_cast_or_null<onnxir::DimsAttr>(type.getEncoding());
  return dims ? dims.getNames()[dim].getValue() : StringRef();
}

// Whether two dimensions are of one size in every run.
static bool isSame(RankedTensorType a, int64_t i, RankedTensorType b, int64_t j) {
  if (!a.isDynamicDim(i) || !b.isDynamicDim(j))
    return a.getDimSize(i) == b.getDimSize(j);
  return !nameOf(a, i).empty() && nameOf(a, i) == nameOf(b, j);
}

// Reshape(Expand(Unsqueeze(x, 2))) of [rows, kv heads, tokens, width] to as many heads as the result has.
static Value matchRepeat(Value value) {
  onnxir::NodeOp reshape = madeBy(value, "Reshape");
  onnxir::NodeOp expand = reshape ? madeBy(reshape.getInputOrNull(0), "Expand") : onnxir::NodeOp();
  onnxir::NodeOp unsqueeze = expand ? madeBy(expand.getInputOrNull(0), "Unsqueeze") : onnxir::NodeOp();
  if (!unsqueeze || !hasAxis(unsqueeze, 2, 5))
    return {};
  Value source = inputOf(unsqueeze, 0);
  RankedTensorType from = tensorOf(source), to = tensorOf(value);
  if (!from || !to || from.getRank() != 4 || to.getRank() != 4 || from.isDynamicDim(1) ||
      to.isDynamicDim(1) || !isSame(from, 0, to, 0) || !isSame(from, 2, to, 2) || !isSame(from, 3, to, 3))
    return {};
  int64_t heads = to.getDimSize(1), shared = from.getDimSize(1);
  auto sizes = integersOf(expand.getInputOrNull(1));
  // With that the other dimensions stay as they are: the result has no more elements.
  if (heads % shared || heads == shared || !sizes || sizes->size() != 5 || (*sizes)[2] != heads / shared)
    return {};
  return source;
}

static bool hasPermutation(onnxir::NodeOp node, ArrayRef<int64_t> wanted) {
  auto order = dyn_cast_or_null<DenseI64ArrayAttr>(node.getNodeAttr("perm"));
  return order && order.asArrayRef() == wanted;
}

// What the last two dimensions of are exchanged, at once or as a batch of matrices.
static Value matchTranspose(Value value) {
  if (onnxir::NodeOp node = madeBy(value, "Transpose"))
    return hasPermutation(node, {0, 1, 3, 2}) ? inputOf(node, 0) : Value();
  onnxir::NodeOp apart = madeBy(value, "Reshape");
  onnxir::NodeOp turned = apart ? madeBy(apart.getInputOrNull(0), "Transpose") : onnxir::NodeOp();
  onnxir::NodeOp together = turned && hasPermutation(turned, {0, 2, 1})
                                ? madeBy(turned.getInputOrNull(0), "Reshape")
                                : onnxir::NodeOp();
  if (!together)
    return {};
  Value source = inputOf(together, 0);
  RankedTensorType from = tensorOf(source), matrices = tensorOf(together.getResult(0)), to = tensorOf(value);
  bool fits = from && matrices && to && from.getRank() == 4 && matrices.getRank() == 3 && to.getRank() == 4 &&
              isSame(from, 2, matrices, 1) && isSame(from, 3, matrices, 2) && isSame(from, 2, to, 3) &&
              isSame(from, 3, to, 2) && isSame(from, 0, to, 0) && isSame(from, 1, to, 1);
  return fits ? source : Value();
}

static bool isScalar(Value value) {
  RankedTensorType type = tensorOf(value);
  return type && type.hasStaticShape() && type.getNumElements() == 1 && type.getRank() <= 1;
}

static std::optional<Repeated> matchRepeated(Value value) {
  Repeated found;
  if (onnxir::NodeOp product = madeBy(value, "Mul"))
    for (unsigned side : {0u, 1u})
      if (isScalar(inputOf(product, side))) {
        found.factor = inputOf(product, side);
        value = inputOf(product, 1 - side);
        break;
      }
  if (Value inner = matchTranspose(value)) {
    found.isTransposed = true;
    value = inner;
  }
  found.source = matchRepeat(value);
  return found.source ? std::optional(found) : std::nullopt;
}

namespace {
struct GroupHeads : adapter::impl::GroupHeadsPassBase<GroupHeads> {
  // A type with sizes and names of its dimensions.
  static RankedTensorType typeOf(ArrayRef<int64_t> sizes, ArrayRef<StringRef> names, Type element) {
    SmallVector<StringAttr> attributes;
    for (StringRef name : names)
      attributes.push_back(StringAttr::get(element.getContext(), name));
    return RankedTensorType::get(sizes, element, onnxir::DimsAttr::get(element.getContext(), attributes));
  }

  void group(onnxir::NodeOp product, const Repeated &repeated) {
    OpBuilder builder(product);
    NodeBuilder b(builder, product.getLoc(), "grouped_" + std::to_string(numGrouped), "grouped");
    ++numGrouped;
    Value left = product.getInputs()[0], right = repeated.source;
    RankedTensorType from = tensorOf(right), of = tensorOf(left), to = tensorOf(product.getResult(0));
    Type element = from.getElementType();
    int64_t any = ShapedType::kDynamic, shared = from.getDimSize(1), heads = to.getDimSize(1);
    if (repeated.isTransposed) {
      RankedTensorType type = typeOf({from.getDimSize(0), shared, from.getDimSize(3), from.getDimSize(2)},
                                     {nameOf(from, 0), "", nameOf(from, 3), nameOf(from, 2)}, element);
      right =
          b.node("Transpose", {right}, type,
                 NamedAttribute(builder.getStringAttr("perm"), builder.getDenseI64ArrayAttr({0, 1, 3, 2})));
    }
    if (repeated.factor)
      right = b.node("Mul", {right, repeated.factor});
    RankedTensorType together = typeOf({of.getDimSize(0), shared, any, of.getDimSize(3)},
                                       {nameOf(of, 0), "", "", nameOf(of, 3)}, element);
    Value rows = b.node("Reshape", {left, b.integers({0, shared, -1, 0})}, together);
    RankedTensorType made = typeOf({to.getDimSize(0), shared, any, to.getDimSize(3)},
                                   {nameOf(to, 0), "", "", nameOf(to, 3)}, element);
    Value sums = b.node("MatMul", {rows, right}, made);
    Value result = b.node("Reshape", {sums, b.integers({0, heads, -1, 0})}, to);
    product.getResult(0).replaceAllUsesWith(result);
  }

  void runOnOperation() override {
    // Tokens of several heads in one dimension cannot be told apart.
    bool byToken = false;
    getOperation()->walk([&](SiteOp site) { byToken |= site.getByToken().has_value(); });
    if (byToken)
      return;
    llvm::SetVector<Block *> changed;
    SmallVector<std::pair<onnxir::NodeOp, Repeated>> found;
    getOperation()->walk([&](onnxir::NodeOp node) {
      if (node.getOpType() != "MatMul" || !node.getDomain().empty() || node.getInputs().size() != 2)
        return;
      RankedTensorType left = tensorOf(node.getInputs()[0]), result = tensorOf(node.getResult(0));
      if (!left || !result || left.getRank() != 4 || result.getRank() != 4)
        return;
      std::optional<Repeated> repeated = matchRepeated(inputOf(node, 1));
      if (!repeated)
        return;
      RankedTensorType source = tensorOf(repeated->source);
      int64_t heads = left.getDimSize(1);
      if (left.isDynamicDim(1) || heads % source.getDimSize(1) || result.getDimSize(1) != heads ||
          !isSame(left, 0, source, 0) || !isSame(left, 0, result, 0))
        return;
      found.emplace_back(node, *repeated);
    });
    for (auto &[node, repeated] : found) {
      group(node, repeated);
      changed.insert(node->getBlock());
    }
    for (Block *block : changed)
      for (Operation &op : llvm::make_early_inc_range(llvm::reverse(*block)))
        if (isa<onnxir::NodeOp>(op) && isOpTriviallyDead(&op))
          op.erase();
  }
};
} // namespace
