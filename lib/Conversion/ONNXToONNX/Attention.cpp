// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// ONNX's Attention: as a node, and as the nodes of its definition. Query heads that share keys and values are taken as
// more rows of one product, so that nothing is copied for them: [batch, shared, group * queries, keys].
#include "lib/Conversion/ONNXToONNX/Expansion.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace adapter;

static constexpr double infinity = std::numeric_limits<double>::infinity();

//===----------------------------------------------------------------------===//
// As a node
//===----------------------------------------------------------------------===//

// Of keys or values with what came before, [batch, heads, positions, size].
static Type presentType(Value past, Value fresh, int64_t heads) {
  Type element = elementTypeOf(fresh);
  bool isFlat = Expansion::rankOf(fresh) == 3;
  int64_t width = Expansion::sizeOf(fresh, -1), length = Expansion::sizeOf(fresh, isFlat ? 1 : 2);
  if (isFlat && !ShapedType::isDynamic(width))
    width /= heads;
  if (past) {
    int64_t before = Expansion::sizeOf(past, 2);
    length = ShapedType::isDynamic(length) || ShapedType::isDynamic(before) ? ShapedType::kDynamic
                                                                            : length + before;
  }
  int64_t count = isFlat ? heads : Expansion::sizeOf(fresh, 1);
  return RankedTensorType::get({Expansion::sizeOf(fresh, 0), count, length, width}, element);
}

AttentionResults adapter::makeAttention(Expansion &e, const Attention &a, bool present, bool product) {
  SmallVector<NamedAttribute> attributes;
  bool isFlat = Expansion::rankOf(a.query) == 3;
  if (isFlat) {
    attributes.push_back(e.attribute("q_num_heads", a.heads));
    attributes.push_back(e.attribute("kv_num_heads", a.sharedHeads));
  }
  if (a.scale)
    attributes.push_back(e.attribute("scale", *a.scale));
  if (a.softcap != 0)
    attributes.push_back(e.attribute("softcap", a.softcap));
  if (a.isCausal)
    attributes.push_back(e.attribute("is_causal", static_cast<int64_t>(1)));
  if (a.leftWindow >= 0)
    attributes.push_back(e.attribute("left_window_size", a.leftWindow));
  if (a.rightWindow >= 0)
    attributes.push_back(e.attribute("right_window_size", a.rightWindow));
  if (product && a.productMode)
    attributes.push_back(e.attribute("qk_matmul_output_mode", a.productMode));
  SmallVector<Value> inputs{a.query, a.key, a.value, a.mask, a.pastKey, a.pastValue, a.lengths};
  while (!inputs.back())
    inputs.pop_back();
  for (Value &input : inputs)
    if (!input)
      input = onnxir::AbsentOp::create(e.builder, e.node.getLoc());
  int64_t width = widthOf(a.value);
  if (isFlat && !ShapedType::isDynamic(width))
    width = width / a.sharedHeads * a.heads;
  SmallVector<Type> types{typeLike(a.query, width, elementTypeOf(a.query))};
  if (present || product) {
    types.push_back(presentType(a.pastKey, a.key, a.sharedHeads));
    types.push_back(presentType(a.pastValue, a.value, a.sharedHeads));
  }
  if (product)
    types.push_back(UnrankedTensorType::get(elementTypeOf(a.query)));
  ResultRange results = e.nodes.nodes("Attention", inputs, types, attributes);
  AttentionResults made{results[0], {}, {}, {}};
  if (present)
    std::tie(made.presentKey, made.presentValue) = std::pair(Value(results[1]), Value(results[2]));
  if (product)
    made.product = results[3];
  return made;
}

//===----------------------------------------------------------------------===//
// As its definition
//===----------------------------------------------------------------------===//

FailureOr<Value> adapter::wholeMask(Expansion &e, Value mask, Value key) {
  if (Expansion::isSameSize(mask, -1, key, 2))
    return mask;
  std::optional<int64_t> rank = Expansion::rankOf(mask);
  if (!rank || *rank == 0)
    return e.error() << "the number of dimensions of its mask must be known, and not 0";
  SmallVector<int64_t> none(2 * *rank - 1, 0);
  Value more = e.reshape(e.binary("Sub", e.size(key, 2), e.size(mask, -1)), 1);
  SmallVector<Value> inputs{mask, e.concat({e.wholes(none), more}, 0)};
  if (!elementTypeOf(mask).isInteger(1))
    inputs.push_back(e.number(-infinity, mask));
  Type type = withWidth(mask.getType(), Expansion::sizeOf(key, 2));
  return e.make("Pad", inputs, type);
}

namespace {
class Definition {
public:
  Definition(Expansion &e, const Attention &a, Value sinks) : e(e), a(a), sinks(sinks) {}

  FailureOr<AttentionResults> expand() {
    if (failed(readHeads()))
      return failure();
    bool isFlat = Expansion::rankOf(a.query) == 3;
    Value query = isFlat ? e.splitHeads(a.query, heads) : a.query;
    key = isFlat ? e.splitHeads(a.key, shared) : a.key;
    Value value = isFlat ? e.splitHeads(a.value, shared) : a.value;
    if (a.pastKey) {
      key = e.concat({a.pastKey, key}, 2);
      value = e.concat({a.pastValue, value}, 2);
    }
    AttentionResults results{{}, key, value, {}};
    queries = query;
    Value rows = grouped(scaled(query));
    Value scores = ungrouped(e.matMul(rows, e.transpose(key, {0, 1, 3, 2})));
    auto keep = [&](int64_t mode, Value value) {
      if (a.productMode == mode)
        results.product = value;
    };
    keep(0, scores);
    if (a.softcap != 0)
      scores = e.times(e.unary("Tanh", e.times(scores, 1 / a.softcap)), a.softcap);
    keep(1, scores);
    if (failed(readMask()))
      return failure();
    if (bias)
      scores = e.binary("Add", scores, bias);
    if (allowed)
      scores = e.where(allowed, scores, e.number(-infinity, scores));
    keep(2, scores);
    Value shares = sinks ? softmaxWithSinks(scores)
                         : e.unary("Softmax", scores, e.attribute("axis", static_cast<int64_t>(-1)));
    Value attends = sinks ? Value() : anyKey();
    if (a.productMode == 3)
      results.product = attends ? e.where(attends, shares, e.number(0, shares)) : shares;
    Value result = ungrouped(e.matMul(grouped(shares), value));
    // What attends to nothing is zero, and here still NaN.
    if (attends)
      result = e.where(attends, result, e.number(0, result));
    if (isFlat)
      result = e.mergeHeads(result);
    results.result = result;
    return results;
  }

private:
  LogicalResult readHeads() {
    std::optional<int64_t> rank = Expansion::rankOf(a.query);
    if (!rank || rank != Expansion::rankOf(a.key) || rank != Expansion::rankOf(a.value) ||
        (*rank != 3 && *rank != 4))
      return e.error() << "query, key and value must have 3 dimensions or 4, all of them as many, and known";
    if (!a.pastKey != !a.pastValue)
      return e.error() << "past keys and values come together";
    if (a.pastKey && a.lengths)
      return e.error() << "input 'nonpad_kv_seqlen' is not for nodes with past keys";
    heads = *rank == 3 ? a.heads : Expansion::sizeOf(a.query, 1);
    shared = *rank == 3 ? a.sharedHeads : Expansion::sizeOf(a.key, 1);
    if (heads <= 0 || shared <= 0)
      return e.error()
             << "the numbers of heads must be known: attributes 'q_num_heads' and 'kv_num_heads', or the "
                "second sizes of query and key";
    if (heads % shared)
      return e.error() << heads << " heads cannot share " << shared << " of keys and values";
    for (auto [x, count] : {std::pair(a.query, heads), {a.key, shared}, {a.value, shared}})
      if (int64_t width = Expansion::sizeOf(x, -1); *rank == 3 && width > 0 && width % count)
        return e.error() << width << " columns are not " << count << " heads";
    return success();
  }

  Value grouped(Value x) { return heads == shared ? x : e.reshape(x, {0, shared, -1, 0}); }
  Value ungrouped(Value x) { return heads == shared ? x : e.reshape(x, {0, heads, -1, 0}); }

  Value scaled(Value query) {
    int64_t size = Expansion::sizeOf(query, -1);
    if (a.scale)
      return e.times(query, *a.scale);
    if (!ShapedType::isDynamic(size))
      return e.times(query, 1 / std::sqrt(static_cast<double>(size)));
    return e.binary("Div", query, e.unary("Sqrt", e.cast(e.size(query, -1), elementTypeOf(query))));
  }

  // Numbers that are added, and where a query may look at all.
  LogicalResult readMask() {
    if (a.isCausal || a.leftWindow >= 0 || a.rightWindow >= 0 || a.lengths) {
      Value count = e.size(queries, 2), at = e.reshape(e.counted(count), {-1, 1});
      keys = e.counted(e.size(key, 2));
      if (a.lengths)
        lengths = e.unsqueeze(a.lengths, {1, 2, 3});
      // The query's own place among the keys.
      place = a.lengths   ? e.binary("Add", at, e.binary("Sub", lengths, count))
              : a.pastKey ? e.binary("Add", at, e.size(a.pastKey, 2))
                          : at;
      if (a.isCausal)
        allow(e.compare("LessOrEqual", keys, place));
      else if (a.lengths)
        allow(e.compare("Less", keys, lengths));
      if (a.leftWindow >= 0)
        allow(e.compare("GreaterOrEqual", keys, e.binary("Sub", place, e.whole(a.leftWindow))));
      if (a.rightWindow >= 0)
        allow(e.compare("LessOrEqual", keys, e.binary("Add", place, e.whole(a.rightWindow))));
    }
    if (!a.mask)
      return success();
    FailureOr<Value> mask = wholeMask(e, a.mask, key);
    if (failed(mask))
      return failure();
    if (elementTypeOf(*mask).isInteger(1))
      allow(*mask);
    else
      bias = *mask;
    return success();
  }

  void allow(Value where) { allowed = allowed ? e.compare("And", allowed, where) : where; }

  // Whether a query looks at any key, for each or for all: [.., queries, 1]. Null where every one does.
  Value anyKey() {
    if (a.mask && bias) {
      Value shown = allowed ? e.where(allowed, bias, e.number(-infinity, bias)) : bias;
      return e.compare("Greater", e.reduce("ReduceMax", shown, -1, true), e.number(-infinity, bias));
    }
    if (a.mask || a.leftWindow >= 0 || a.rightWindow >= 0) {
      Value shown = e.cast(allowed, elementTypeOf(queries));
      return e.compare("Greater", e.reduce("ReduceMax", shown, -1, true), e.number(0, shown));
    }
    if (!a.lengths)
      return {};
    return a.isCausal ? e.compare("GreaterOrEqual", place, e.whole(0))
                      : e.compare("Greater", lengths, e.whole(0));
  }

  Value softmaxWithSinks(Value scores) {
    Value most = e.binary("Max", e.reduce("ReduceMax", scores, -1, true), sinks);
    Value powers = e.unary("Exp", e.binary("Sub", scores, most));
    Value sum = e.binary("Add", e.reduce("ReduceSum", powers, -1, true),
                         e.unary("Exp", e.binary("Sub", sinks, most)));
    return e.binary("Div", powers, sum);
  }

  Expansion &e;
  const Attention &a;
  Value sinks;
  int64_t heads = 0, shared = 0;
  Value queries, key; // [batch, heads, positions, size]
  Value keys;         // 0, 1, ...
  Value place, lengths, allowed, bias;
};
} // namespace

FailureOr<AttentionResults> adapter::expandAttention(Expansion &e, const Attention &attention, Value sinks) {
  return Definition(e, attention, sinks).expand();
}

FailureOr<Attention> adapter::readAttention(Expansion &e) {
  if (failed(e.requireInputs({0, 1, 2})) || failed(e.requireAttribute("softmax_precision", 1)))
    return failure();
  Attention attention;
  attention.query = e.in(0);
  attention.key = e.in(1);
  attention.value = e.in(2);
  attention.mask = e.in(3);
  attention.pastKey = e.in(4);
  attention.pastValue = e.in(5);
  attention.lengths = e.in(6);
  attention.heads = e.integer("q_num_heads", 0);
  attention.sharedHeads = e.integer("kv_num_heads", 0);
  if (e.node.getNodeAttr("scale"))
    attention.scale = e.real("scale", 1);
  attention.softcap = e.real("softcap", 0);
  attention.isCausal = e.integer("is_causal", 0);
  attention.leftWindow = e.integer("left_window_size", -1);
  attention.rightWindow = e.integer("right_window_size", -1);
  attention.productMode = e.integer("qk_matmul_output_mode", 0);
  return attention;
}

Expanded adapter::expandAttentionNode(Expansion &e) {
  FailureOr<Attention> attention = readAttention(e);
  if (failed(attention))
    return failure();
  FailureOr<AttentionResults> made = expandAttention(e, *attention);
  if (failed(made))
    return failure();
  return SmallVector<Value>{made->result, made->presentKey, made->presentValue, made->product};
}
