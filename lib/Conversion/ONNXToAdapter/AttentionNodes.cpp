// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See AttentionNodes.h.
#include "lib/Conversion/ONNXToAdapter/AttentionNodes.h"
#include "lib/Conversion/ONNXToONNX/Expansion.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace adapter;

namespace {
class AttentionNode {
public:
  explicit AttentionNode(onnxir::NodeOp node) : e(node) {}

  bool raise() {
    if (!isSimple())
      return false;
    FailureOr<Attention> read = readAttention(e);
    if (failed(read))
      return false;
    a = *read;
    isFlat = Expansion::rankOf(a.query) == 3;
    if (!fits())
      return false;
    Value query = isFlat ? e.splitHeads(a.query, heads) : a.query;
    Value key = isFlat ? e.splitHeads(a.key, shared) : a.key;
    Value value = isFlat ? e.splitHeads(a.value, shared) : a.value;
    if (a.pastKey) {
      key = withPast(a.pastKey, key, width);
      value = withPast(a.pastValue, value, valueWidth);
    }
    Value made = attend(query, key, value);
    if (isFlat)
      made = e.mergeHeads(made);
    for (auto [number, result] : llvm::enumerate(SmallVector<Value>{made, key, value}))
      if (e.isUsed(number))
        e.node.getResult(number).replaceAllUsesWith(result);
    e.node.erase();
    return true;
  }

private:
  // Whether the node asks for nothing that adapter.attention does not have, as far as its operands tell.
  bool isSimple() {
    std::optional<int64_t> rank = Expansion::rankOf(e.in(0));
    for (unsigned operand : {0u, 1u, 2u})
      if (!e.in(operand) || Expansion::rankOf(e.in(operand)) != rank || !elementTypeOf(e.in(operand)).isF32())
        return false;
    for (unsigned operand : {4u, 5u})
      if (e.in(operand) && Expansion::rankOf(e.in(operand)) != 4)
        return false;
    bool hasLengths = static_cast<bool>(e.in(6));
    return (rank == 3 || rank == 4) && !e.in(4) == !e.in(5) && !hasLengths && !e.isUsed(3) &&
           isMask(e.in(3)) && e.integer("softmax_precision", 1) == 1;
  }

  static bool isMask(Value mask) {
    std::optional<int64_t> rank = mask ? Expansion::rankOf(mask) : 1;
    return rank && *rank >= 1 && *rank <= 4 &&
           (!mask || ((elementTypeOf(mask).isF32() || elementTypeOf(mask).isInteger(1)) &&
                      Expansion::sizeOf(mask, -1) != 1));
  }

  // The same of heads, widths and what queries see.
  bool fits() {
    heads = isFlat ? a.heads : Expansion::sizeOf(a.query, 1);
    shared = isFlat ? a.sharedHeads : Expansion::sizeOf(a.key, 1);
    if (heads <= 0 || shared <= 0 || heads % shared)
      return false;
    auto widthOf = [&](Value x, int64_t count) -> int64_t {
      int64_t whole = Expansion::sizeOf(x, -1);
      if (ShapedType::isDynamic(whole) || (isFlat && whole % count))
        return -1;
      return isFlat ? whole / count : whole;
    };
    width = widthOf(a.query, heads);
    valueWidth = widthOf(a.value, shared);
    if (width <= 0 || valueWidth <= 0 || widthOf(a.key, shared) != width)
      return false;
    // Without a past ONNX counts queries from the first key on, adapter.attention up to the last one.
    int64_t tokens = isFlat ? 1 : 2;
    if (a.isCausal && !a.pastKey && !Expansion::isSameSize(a.query, tokens, a.key, tokens))
      return false;
    return a.isCausal || (a.leftWindow < 0 && a.rightWindow < 0);
  }

  // A past whose numbers of heads and width the model leaves open has those of what is put behind it.
  Value withPast(Value past, Value fresh, int64_t size) {
    auto fixed = [&](Value value) {
      auto type = cast<RankedTensorType>(value.getType());
      SmallVector<int64_t> shape(type.getShape());
      shape[1] = shared;
      shape[3] = size;
      Attribute encoding;
      if (auto dims = dyn_cast_or_null<onnxir::DimsAttr>(type.getEncoding())) {
        SmallVector<StringAttr> names(dims.getNames());
        names[1] = names[3] = StringAttr::get(type.getContext());
        encoding = onnxir::DimsAttr::get(type.getContext(), names);
      }
      value.setType(RankedTensorType::get(shape, type.getElementType(), encoding));
    };
    if (isa<BlockArgument>(past))
      fixed(past);
    Value all = e.concat({past, fresh}, 2);
    fixed(all);
    return all;
  }

  // What is added to scores.
  Value addedMask(Value key) {
    if (!a.mask)
      return {};
    Value mask = *wholeMask(e, a.mask, key);
    if (!elementTypeOf(mask).isInteger(1))
      return mask;
    double lowest = -std::numeric_limits<double>::infinity();
    return e.where(mask, e.number(0, key), e.number(lowest, key));
  }

  Value attend(Value query, Value key, Value value) {
    OpBuilder &b = e.builder;
    auto number = [&](double value) { return b.getF32FloatAttr(static_cast<float>(value)); };
    double scale = a.scale.value_or(1 / std::sqrt(static_cast<double>(width)));
    Value mask = addedMask(key);
    auto given = cast<RankedTensorType>(query.getType());
    auto type = RankedTensorType::get({given.getDimSize(0), heads, given.getDimSize(2), valueWidth},
                                      given.getElementType());
    bool hasWindow = a.isCausal && a.leftWindow >= 0;
    return AttentionOp::create(b, e.node.getLoc(), type, query, key, value, mask, number(scale),
                               a.softcap != 0 ? number(a.softcap) : FloatAttr(),
                               a.isCausal ? b.getUnitAttr() : UnitAttr(),
                               hasWindow ? b.getI64IntegerAttr(a.leftWindow + 1) : IntegerAttr(),
                               b.getUnitAttr(), DenseI64ArrayAttr());
  }

  Expansion e;
  Attention a;
  bool isFlat = false;
  int64_t heads = 0, shared = 0, width = 0, valueWidth = 0;
};
} // namespace

bool adapter::raiseAttentionNode(onnxir::NodeOp node) { return AttentionNode(node).raise(); }
