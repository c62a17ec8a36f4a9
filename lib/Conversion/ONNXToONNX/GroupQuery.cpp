// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// ONNX Runtime's GroupQueryAttention, as ONNX's Attention over caches that hold each row of the batch from position 0 on,
// without padding: new keys and values are written behind those that the row has (TensorScatter). In a prompt, which is
// where the longest row has no more than the new tokens, rows begin at 0, and what a shorter one has is padded on the right.
//
// A cache of a window (`sliding_window_cache`) keeps its size C: behind T tokens it holds the last L(T) positions from its
// front on. L(T) is T up to C; beyond, C - W + 1 positions at once make room, W the window. A call attends to what the
// cache holds with the new tokens behind it, and the last L(T) of that are the cache that it hands on.
#include "lib/Conversion/ONNXToONNX/Expansion.h"

using namespace mlir;
using namespace adapter;

namespace {
class GroupQuery {
public:
  explicit GroupQuery(Expansion &e) : e(e) {}

  Expanded expand() {
    if (failed(readHeads()) || failed(refuseRest()) || failed(readLengths()))
      return failure();
    SmallVector<Value> parts{e.in(0), e.in(1), e.in(2)};
    if (!parts[1])
      parts = e.split(e.in(0), -1, {heads * size, shared * size, shared * size});
    for (auto [part, count] : llvm::zip(parts, SmallVector<int64_t>{heads, shared, shared}))
      part = e.reshape(part, {0, 0, count, size});
    if (e.integer("do_rotary", 0) && failed(turn(parts)))
      return failure();
    for (Value &part : parts)
      part = e.transpose(part, {0, 2, 1, 3});
    Attention a;
    a.query = parts[0];
    a.mask = e.in(10);
    a.isCausal = e.integer("causal", 1);
    a.softcap = e.real("softcap", 0);
    if (double scale = e.real("scale", 0); scale != 0)
      a.scale = scale;
    if (window > 0)
      a.leftWindow = window - 1;
    if (e.sessions && e.in(3))
      return inSession(a, parts);
    if (slides)
      slide(held, begin);
    a.key = withPast(e.in(3), parts[1]);
    a.value = withPast(e.in(4), parts[2]);
    // Without a past all rows are new tokens, and a causal query sees no padding behind it.
    if (!a.isCausal)
      a.lengths = held;
    else if (e.in(3))
      a.lengths = e.binary("Add", place, tokens);
    FailureOr<AttentionResults> made = attend(a);
    if (failed(made))
      return failure();
    Value result = e.mergeHeads(made->result);
    return SmallVector<Value>{result, handedOn(a.key), handedOn(a.value)};
  }

private:
  // A session's rows have no padding, and keep all that they had: a window that slides sees no more of it.
  Expanded inSession(Attention &a, ArrayRef<Value> parts) {
    if (failed(e.refuseInput(10, "attention_bias")) || failed(e.refuseInput(11, "head_sink")) ||
        failed(e.requireAttribute("smooth_softmax", 0)) || failed(e.requireAttribute("causal", 1)))
      return failure();
    a.key = parts[1];
    a.value = parts[2];
    a.pastKey = e.in(3);
    a.pastValue = e.in(4);
    AttentionResults made = makeAttention(e, a, /*present=*/true, /*product=*/false);
    e.node->getParentOfType<onnxir::GraphOp>()->setAttr(onnxir::rowsApartAttribute, e.builder.getUnitAttr());
    Value result = e.mergeHeads(made.result);
    return SmallVector<Value>{result, made.presentKey, made.presentValue};
  }

  LogicalResult readHeads() {
    heads = e.integer("num_heads", 0);
    shared = e.integer("kv_num_heads", 0);
    if (failed(e.requireInputs({0, 5, 6})))
      return failure();
    if (heads <= 0 || shared <= 0 || heads % shared)
      return e.error() << "attributes 'num_heads' = " << heads << " and 'kv_num_heads' = " << shared
                       << " must be there, the first a multiple of the second";
    if (!e.in(1) != !e.in(2) || !e.in(3) != !e.in(4))
      return e.error() << "keys and values come together, and so do past ones";
    for (unsigned index : {0u, 1u, 2u})
      if (e.in(index) && Expansion::rankOf(e.in(index)) != 3)
        return e.error() << "its queries, keys and values must be known to have 3 dimensions";
    int64_t width = Expansion::sizeOf(e.in(0), -1), count = e.in(1) ? heads : heads + 2 * shared;
    if (ShapedType::isDynamic(width) || width % count)
      return e.error() << "the width of its queries must be known, and " << count << " heads";
    size = width / count;
    // The builder leaves the size of a head open in the types of its inputs.
    for (unsigned index : {3u, 4u})
      if (Value past = e.in(index); past && isa<BlockArgument>(past) &&
                                    ShapedType::isDynamic(Expansion::sizeOf(past, 3)) &&
                                    Expansion::rankOf(past) == 4)
        past.setType(withWidth(past.getType(), size));
    return success();
  }

  LogicalResult refuseRest() {
    static constexpr std::pair<unsigned, StringRef> inputs[] = {
        {12, "k_scale"}, {13, "v_scale"}, {14, "q_norm_weight"}, {15, "k_norm_weight"}};
    for (auto [index, name] : inputs)
      if (failed(e.refuseInput(index, name)))
        return failure();
    for (StringRef name : {"k_quant_type", "v_quant_type"})
      if (StringRef kind = stringAttr(e.node, name, "NONE"); kind != "NONE")
        return e.error() << "attribute '" << name << "' = " << kind << " is not supported in compiled code";
    window = e.integer("local_window_size", -1);
    slides = e.integer("sliding_window_cache", 0);
    if (e.integer("causal", 1) == 0 && window > 0)
      return e.error() << "attribute 'local_window_size' needs 'causal' = 1";
    if (slides && (window <= 0 || !e.in(3)))
      return e.error() << "attribute 'sliding_window_cache' needs 'local_window_size' and past keys";
    // Its columns are those of positions that the cache has given up.
    if (slides && failed(e.refuseInput(10, "attention_bias")))
      return failure();
    return e.refuseResult(3, "output_qk");
  }

  // Where each row's new tokens begin, and how many positions it holds with them.
  LogicalResult readLengths() {
    Type i64 = e.builder.getI64Type();
    Value last = e.cast(e.in(5), i64), total = e.cast(e.in(6), i64);
    std::optional<int64_t> rank = Expansion::rankOf(total);
    if (rank != 0 && rank != 1)
      return e.error() << "input 'total_sequence_length' must be known to be one number";
    longest = rank == 0 ? total : e.make("Squeeze", {total, e.wholes({0})}, RankedTensorType::get({}, i64));
    if (Expansion::rankOf(last) != 1)
      last = e.reshape(last, -1);
    held = e.binary("Add", last, e.whole(1));
    tokens = e.size(e.in(0), 1);
    isPrompt = e.compare("Equal", tokens, longest);
    begin = e.where(isPrompt, e.whole(0), e.binary("Sub", held, tokens));
    place = begin;
    // A row that holds more than its cache has no place for what is new, which TensorScatter says.
    if (e.in(3))
      place = e.where(e.compare("LessOrEqual", begin, e.size(e.in(3), 2)), begin, e.whole(-1));
    return success();
  }

  // L of a number of tokens of each row.
  Value resident(Value count, Value room, Value step) {
    Value over = e.binary("Max", e.binary("Sub", count, room), e.whole(0));
    Value steps = e.binary("Div", e.binary("Add", over, e.binary("Sub", step, e.whole(1))), step);
    return e.binary("Sub", count, e.binary("Mul", steps, step));
  }

  // Where new tokens go in a cache of a window, and how far what is handed on moves to the front. A cache that is
  // shorter than the window cannot hold it: the place is -1 then, which TensorScatter refuses.
  void slide(Value tokensThen, Value tokensBefore) {
    Value room = e.size(e.in(3), 2), spare = e.binary("Sub", room, e.whole(window - 1));
    Value step = e.binary("Max", spare, e.whole(1));
    place = resident(tokensBefore, room, step);
    // Rows of a prompt that are padded hold fewer than there are new ones; what is handed on are their own.
    moved = e.binary("Sub", e.binary("Add", place, e.binary("Sub", tokensThen, tokensBefore)),
                     resident(tokensThen, room, step));
    place = e.where(e.compare("Greater", spare, e.whole(0)), place, e.whole(-1));
  }

  Value handedOn(Value cache) {
    if (!slides)
      return cache;
    Value room = e.size(e.in(3), 2), last = e.binary("Sub", e.binary("Add", room, tokens), e.whole(1));
    Value from = e.binary("Min", e.binary("Add", e.unsqueeze(moved, 1), e.counted(room)), last);
    Value shape = e.make("Shape", e.in(3), RankedTensorType::get({4}, e.builder.getI64Type()));
    Type indices = RankedTensorType::get(
        {Expansion::sizeOf(e.in(3), 0), shared, Expansion::sizeOf(e.in(3), 2), size}, e.builder.getI64Type());
    Value everywhere = e.make("Expand", {e.unsqueeze(from, {1, 3}), shape}, indices);
    Type type = RankedTensorType::get(cast<RankedTensorType>(indices).getShape(), elementTypeOf(cache));
    return e.make("GatherElements", {cache, everywhere}, type, e.attribute("axis", static_cast<int64_t>(2)));
  }

  // Queries and keys by their positions. Of those that a prompt gives the first one counts.
  LogicalResult turn(MutableArrayRef<Value> parts) {
    if (failed(e.requireInputs({7, 8})))
      return failure();
    Value cosines = e.in(7), sines = e.in(8), counted = e.counted(tokens);
    int64_t half = Expansion::sizeOf(cosines, -1);
    if (Expansion::rankOf(cosines) != 2 || ShapedType::isDynamic(half) || 2 * half > size)
      return e.error() << "inputs 'cos_cache' and 'sin_cache' must have 2 dimensions and at most " << size / 2
                       << " columns, and their sizes be known";
    Value positions = e.binary("Add", e.unsqueeze(begin, 1), counted);
    if (Value given = e.in(9)) {
      if (Expansion::rankOf(given) != 2)
        return e.error() << "input 'position_ids' must be known to have 2 dimensions";
      given = e.cast(given, e.builder.getI64Type());
      Value first = e.slice(e.slice(given, 0, 0, 1), 1, 0, 1);
      positions = e.where(isPrompt, e.binary("Add", first, counted), given);
    }
    cosines = e.gather(cosines, positions);
    sines = e.gather(sines, positions);
    for (Value &part : parts.take_front(2))
      part = rotate(e, part, cosines, sines, e.integer("rotary_interleaved", 0), 2);
    return success();
  }

  // The cache has room for the longest row, which it may have had before; that of a window for what is new.
  Value withPast(Value past, Value fresh) {
    if (!past)
      return fresh;
    Value room = e.size(past, 2),
          more = slides ? tokens : e.binary("Sub", e.binary("Max", room, longest), room);
    SmallVector<int64_t> before(6, 0);
    Value pads = e.concat({e.wholes(before), e.reshape(more, 1), e.wholes({0})}, 0);
    Type type = RankedTensorType::get({Expansion::sizeOf(fresh, 0), shared, ShapedType::kDynamic, size},
                                      elementTypeOf(fresh));
    Value roomy = e.make("Pad", {past, pads}, type);
    return e.make("TensorScatter", {roomy, fresh, place}, type, e.attribute("axis", static_cast<int64_t>(2)));
  }

  // A sink is what ONNX's operator does not have.
  FailureOr<AttentionResults> attend(const Attention &a) {
    Value sinks = e.in(11);
    if (!sinks && !e.integer("smooth_softmax", 0))
      return makeAttention(e, a, /*present=*/false, /*product=*/false);
    sinks = sinks ? e.reshape(sinks, {heads, 1, 1}) : e.number(0, a.query);
    return expandAttention(e, a, sinks);
  }

  Expansion &e;
  int64_t heads = 0, shared = 0, size = 0, window = -1;
  bool slides = false;
  Value tokens, longest, isPrompt; // one number
  Value begin, held, place, moved; // one for each row
};
} // namespace

static Expanded groupQueryAttention(Expansion &e) { return GroupQuery(e).expand(); }

void adapter::addGroupQueryExpansions(ExpansionTable &table) {
  table["com.microsoft::GroupQueryAttention"] = groupQueryAttention;
}
