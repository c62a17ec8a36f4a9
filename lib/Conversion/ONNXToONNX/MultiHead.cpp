// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// ONNX Runtime's MultiHeadAttention and Attention, as ONNX's Attention. Their masks say which keys are padding; a hidden
// key's score is lowered by a number, not taken out, so that a query all of whose keys are hidden has a result.
#include "lib/Conversion/ONNXToONNX/Expansion.h"

using namespace mlir;
using namespace adapter;

namespace {
class MultiHead {
public:
  explicit MultiHead(Expansion &e) : e(e) {
    attention.heads = attention.sharedHeads = e.integer("num_heads", 0);
    attention.isCausal = e.integer("unidirectional", 0);
    if (double scale = e.real("scale", 0); scale != 0)
      attention.scale = scale;
  }

  LogicalResult checkHeads() {
    return attention.heads > 0 ? success() : LogicalResult(e.error() << "attribute 'num_heads' is missing");
  }

  // Adds the mask of the padding and what else is added to the scores. `batch` has as many rows.
  LogicalResult addMasks(Value padding, Value added, Value batch, bool hasStarts) {
    if (padding) {
      FailureOr<Value> shown = shownKeys(padding, batch, hasStarts);
      if (failed(shown))
        return failure();
      // One number for all keys of a row changes nothing; there is one for each here, or the sizes do not fit.
      Value like = attention.query, zeros = e.times(e.cast(keys(), elementTypeOf(like)), 0);
      attention.mask = e.where(*shown, zeros, e.number(e.real("mask_filter_value", -10000), like));
    }
    if (added)
      attention.mask = attention.mask ? e.binary("Add", attention.mask, added) : added;
    return success();
  }

  Expansion &e;
  Attention attention;

private:
  // 0, 1, ...: one for each key.
  Value keys() {
    bool isFlat = Expansion::rankOf(attention.key) == 3;
    Value total = e.size(attention.key, isFlat ? 1 : 2);
    return e.counted(attention.pastKey ? e.binary("Add", total, e.size(attention.pastKey, 2)) : total);
  }

  FailureOr<Value> shownKeys(Value mask, Value batch, bool hasStarts) {
    std::optional<int64_t> rank = Expansion::rankOf(mask);
    if (rank == 1)
      return shownByLength(mask, batch, hasStarts);
    if (rank != 2 && rank != 3)
      return e.error() << "a mask of 1, 2 or 3 dimensions is supported in compiled code, which must be known";
    Value shown = e.compare("Greater", mask, e.cast(e.whole(0), elementTypeOf(mask)));
    return e.unsqueeze(shown, rank == 2 ? ArrayRef<int64_t>{1, 2} : ArrayRef<int64_t>{1});
  }

  // One number of keys for each row of the batch, or behind those as many first keys.
  FailureOr<Value> shownByLength(Value mask, Value batch, bool hasStarts) {
    int64_t rows = Expansion::sizeOf(batch, 0), count = Expansion::sizeOf(mask, 0);
    bool isDouble = hasStarts && !ShapedType::isDynamic(rows) && count == 2 * rows;
    if (!isDouble && !Expansion::isSameSize(mask, 0, batch, 0))
      return e.error() << "the one dimension of its mask must be known to be the batch"
                       << (hasStarts ? ", or twice as many" : "");
    Value at = keys(), numbers = e.cast(mask, e.builder.getI64Type());
    auto perRow = [&](Value each) { return e.unsqueeze(each, {1, 2, 3}); };
    if (!isDouble)
      return e.compare("Less", at, perRow(numbers));
    SmallVector<Value> parts = e.split(numbers, 0, {rows, rows});
    return e.compare("And", e.compare("Less", at, perRow(parts[0])),
                     e.compare("GreaterOrEqual", at, perRow(parts[1])));
  }
};
} // namespace

static Expanded multiHeadAttention(Expansion &e) {
  MultiHead maker(e);
  Attention &a = maker.attention;
  if (failed(e.requireInputs({0})) || failed(maker.checkHeads()) ||
      failed(e.refuseInput(8, "past_sequence_length")) || failed(e.refuseInput(9, "cache_indirection")))
    return failure();
  if (!e.in(1) || !e.in(2) || Expansion::rankOf(e.in(0)) != 3)
    return e.error()
           << "packed queries, keys and values are not supported in compiled code: 'query' must have 3 "
              "dimensions, 'key' and 'value' must be there";
  std::optional<int64_t> rank = Expansion::rankOf(e.in(1));
  if ((rank != 3 && rank != 4) || rank != Expansion::rankOf(e.in(2)))
    return e.error() << "'key' and 'value' must have 3 dimensions, or both 4";
  SmallVector<Value> inputs{e.in(0), e.in(1), e.in(2)};
  if (Value bias = e.in(3)) {
    SmallVector<int64_t> widths;
    for (Value input : inputs)
      widths.push_back(Expansion::sizeOf(input, -1));
    if (rank == 4 || llvm::any_of(widths, ShapedType::isDynamic))
      return e.error() << "input 'bias' needs query, key and value of 3 dimensions and of known widths";
    for (auto [input, part] : llvm::zip(inputs, e.split(bias, 0, widths)))
      input = e.plus(input, part);
  }
  a.query = inputs[0];
  a.key = inputs[1];
  a.value = inputs[2];
  a.pastKey = e.in(6);
  a.pastValue = e.in(7);
  // Keys and values that come with their heads in front: those of an encoder.
  if (rank == 4)
    a.query = e.splitHeads(a.query, a.heads);
  if (failed(maker.addMasks(e.in(4), e.in(5), e.in(0), /*hasStarts=*/false)))
    return failure();
  a.productMode = 2;
  AttentionResults made = makeAttention(e, a, e.isUsed(1) || e.isUsed(2), e.isUsed(3));
  if (rank == 4)
    made.result = e.mergeHeads(made.result);
  return SmallVector<Value>{made.result, made.presentKey, made.presentValue, made.product};
}

// Queries, keys and values are one product; what came before is one tensor of both, as is what is handed on.
static Expanded packedAttention(Expansion &e) {
  MultiHead maker(e);
  Attention &a = maker.attention;
  if (failed(e.requireInputs({0, 1})) || failed(maker.checkHeads()) ||
      failed(e.requireAttribute("do_rotary", 0)) ||
      failed(e.requireAttribute("past_present_share_buffer", 0)) ||
      failed(e.refuseInput(6, "past_sequence_length")))
    return failure();
  Value product = e.plus(e.matMul(e.in(0), e.in(1)), e.in(2));
  SmallVector<int64_t> widths = intsAttr(e.node, "qkv_hidden_sizes").value_or(SmallVector<int64_t>());
  int64_t width = Expansion::sizeOf(e.in(1), -1);
  if (widths.empty() && !ShapedType::isDynamic(width) && width % 3 == 0)
    widths.assign(3, width / 3);
  if (widths.size() != 3)
    return e.error()
           << "the width of its weight must be known and a multiple of 3, or attribute 'qkv_hidden_sizes' "
              "be there";
  if (llvm::any_of(widths, [&](int64_t each) { return each % a.heads; }))
    return e.error() << "attribute 'num_heads' = " << a.heads << " does not divide its columns";
  SmallVector<Value> parts = e.split(product, -1, widths);
  a.query = parts[0];
  a.key = parts[1];
  a.value = parts[2];
  if (Value past = e.in(4)) {
    if (Expansion::rankOf(past) != 5)
      return e.error() << "input 'past' must be known to have 5 dimensions";
    a.pastKey = e.gather(past, e.whole(0));
    a.pastValue = e.gather(past, e.whole(1));
  }
  if (failed(maker.addMasks(e.in(3), e.in(5), e.in(0), /*hasStarts=*/true)))
    return failure();
  bool isPresent = e.isUsed(1);
  AttentionResults made = makeAttention(e, a, isPresent, /*product=*/false);
  Value present;
  if (isPresent)
    present = e.concat({e.unsqueeze(made.presentKey, 0), e.unsqueeze(made.presentValue, 0)}, 0);
  return SmallVector<Value>{made.result, present};
}

void adapter::addMultiHeadExpansions(ExpansionTable &table) {
  table["com.microsoft::MultiHeadAttention"] = multiHeadAttention;
  table["com.microsoft::Attention"] = packedAttention;
}
