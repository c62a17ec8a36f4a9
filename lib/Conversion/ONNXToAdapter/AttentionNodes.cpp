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
    if (!readHeads() || !readMask())
      return false;
    Value query = withHeads(e.in(0), heads), key = withHeads(e.in(1), shared),
          value = withHeads(e.in(2), shared);
    if (hasPast()) {
      key = withPast(e.in(4), key, width);
      value = withPast(e.in(5), value, valueWidth);
    }
    Value made = attend(query, key, value);
    if (isFlat)
      made = e.reshape(e.transpose(made, {0, 2, 1, 3}), {0, 0, heads * valueWidth});
    for (auto [number, result] : llvm::enumerate(SmallVector<Value>{made, key, value}))
      if (e.isUsed(number))
        e.node.getResult(number).replaceAllUsesWith(result);
    e.node.erase();
    return true;
  }

private:
  bool hasPast() { return static_cast<bool>(e.in(4)); }

  bool readHeads() {
    std::optional<int64_t> rank = Expansion::rankOf(e.in(0));
    for (unsigned operand : {0u, 1u, 2u})
      if (!e.in(operand) || Expansion::rankOf(e.in(operand)) != rank || !elementTypeOf(e.in(operand)).isF32())
        return false;
    if ((rank != 3 && rank != 4) || !e.in(4) != !e.in(5) || e.in(6) || e.isUsed(3) ||
        e.integer("softmax_precision", 1) != 1)
      return false;
    for (unsigned operand : {4u, 5u})
      if (e.in(operand) && Expansion::rankOf(e.in(operand)) != 4)
        return false;
    isFlat = rank == 3;
    heads = isFlat ? e.integer("q_num_heads", 0) : Expansion::sizeOf(e.in(0), 1);
    shared = isFlat ? e.integer("kv_num_heads", 0) : Expansion::sizeOf(e.in(1), 1);
    if (heads <= 0 || shared <= 0 || heads % shared)
      return false;
    auto widthOf = [&](unsigned operand, int64_t count) -> int64_t {
      int64_t width = Expansion::sizeOf(e.in(operand), -1);
      if (ShapedType::isDynamic(width) || (isFlat && width % count))
        return -1;
      return isFlat ? width / count : width;
    };
    width = widthOf(0, heads);
    valueWidth = widthOf(2, shared);
    if (width <= 0 || valueWidth <= 0 || widthOf(1, shared) != width)
      return false;
    // Without a past ONNX counts queries from the first key on, adapter.attention up to the last one.
    isCausal = e.integer("is_causal", 0);
    int64_t left = e.integer("left_window_size", -1), right = e.integer("right_window_size", -1);
    int64_t tokens = isFlat ? 1 : 2;
    if (isCausal && !hasPast() && !Expansion::isSameSize(e.in(0), tokens, e.in(1), tokens))
      return false;
    window = left + 1;
    return isCausal || (left < 0 && right < 0);
  }

  bool readMask() {
    Value mask = e.in(3);
    std::optional<int64_t> rank = mask ? Expansion::rankOf(mask) : 1;
    return rank && *rank >= 1 && *rank <= 4 &&
           (!mask || elementTypeOf(mask).isF32() || elementTypeOf(mask).isInteger(1)) &&
           !(mask && Expansion::sizeOf(mask, -1) == 1);
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

  Value withHeads(Value x, int64_t count) {
    if (!isFlat)
      return x;
    int64_t own = Expansion::sizeOf(x, -1) / count;
    return e.transpose(e.reshape(x, {0, 0, count, own}), {0, 2, 1, 3});
  }

  // What is added to scores; keys beyond a mask's last dimension are hidden.
  Value addedMask(Value key) {
    Value mask = e.in(3);
    if (!mask)
      return {};
    double lowest = -std::numeric_limits<double>::infinity();
    if (elementTypeOf(mask).isInteger(1))
      mask = e.where(mask, e.number(0, key), e.number(lowest, key));
    if (Expansion::isSameSize(mask, -1, key, 2))
      return mask;
    SmallVector<int64_t> none(2 * *Expansion::rankOf(mask) - 1, 0);
    Value more = e.reshape(e.binary("Sub", e.size(key, 2), e.size(mask, -1)), 1);
    Type type = withWidth(mask.getType(), Expansion::sizeOf(key, 2));
    return e.make("Pad", {mask, e.concat({e.wholes(none), more}, 0), e.number(lowest, mask)}, type);
  }

  Value attend(Value query, Value key, Value value) {
    OpBuilder &b = e.builder;
    auto number = [&](double value) { return b.getF32FloatAttr(static_cast<float>(value)); };
    double scale =
        e.node.getNodeAttr("scale") ? e.real("scale", 1) : 1 / std::sqrt(static_cast<double>(width));
    double softcap = e.real("softcap", 0);
    Value mask = addedMask(key);
    auto given = cast<RankedTensorType>(query.getType());
    auto type = RankedTensorType::get({given.getDimSize(0), heads, given.getDimSize(2), valueWidth},
                                      given.getElementType());
    return AttentionOp::create(b, e.node.getLoc(), type, query, key, value, mask, number(scale),
                               softcap != 0 ? number(softcap) : FloatAttr(),
                               isCausal ? b.getUnitAttr() : UnitAttr(),
                               isCausal && window > 0 ? b.getI64IntegerAttr(window) : IntegerAttr(),
                               b.getUnitAttr(), DenseI64ArrayAttr());
  }

  Expansion e;
  bool isFlat = false, isCausal = false;
  int64_t heads = 0, shared = 0, width = 0, valueWidth = 0, window = 0;
};
} // namespace

bool adapter::raiseAttentionNode(onnxir::NodeOp node) { return AttentionNode(node).raise(); }
