// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rotary embeddings: ONNX's own operator and ONNX Runtime's, which differ in the order of their inputs and in how they
// say positions.
#include "lib/Conversion/ONNXToONNX/Expansion.h"

using namespace mlir;
using namespace adapter;

Value adapter::rotate(Expansion &e, Value x, Value cosines, Value sines, bool interleaved, int64_t headAxis) {
  int64_t half = Expansion::sizeOf(cosines, -1), size = Expansion::sizeOf(x, -1);
  // One for all heads.
  if (Expansion::rankOf(cosines) != 2 || headAxis != 1) {
    cosines = e.unsqueeze(cosines, headAxis == 1 ? 1 : -2);
    sines = e.unsqueeze(sines, headAxis == 1 ? 1 : -2);
  }
  int64_t turned = 2 * half;
  Value first = interleaved ? e.slice(x, -1, 0, turned, 2) : e.slice(x, -1, 0, half);
  Value second = interleaved ? e.slice(x, -1, 1, turned, 2) : e.slice(x, -1, half, turned);
  Value real = e.binary("Sub", e.binary("Mul", cosines, first), e.binary("Mul", sines, second));
  Value imaginary = e.binary("Add", e.binary("Mul", sines, first), e.binary("Mul", cosines, second));
  SmallVector<Value> parts{real, imaginary};
  if (interleaved) {
    Value pairs = e.concat({e.unsqueeze(real, -1), e.unsqueeze(imaginary, -1)}, -1);
    parts = {e.reshape(pairs, {0, 0, 0, turned})};
  }
  if (size != turned)
    parts.push_back(e.slice(x, -1, turned, std::numeric_limits<int64_t>::max()));
  return parts.size() == 1 ? parts.front() : e.concat(parts, -1);
}

namespace {
struct Rotary {
  Value x, cosines, sines; // the angles of the tokens: [batch, tokens, half] or [tokens, half]
  int64_t heads, size;     // 0: not said
};
} // namespace

static Expanded turn(Expansion &e, const Rotary &rotary) {
  std::optional<int64_t> rank = Expansion::rankOf(rotary.x);
  int64_t half = Expansion::sizeOf(rotary.cosines, -1), turned = e.integer("rotary_embedding_dim", 0);
  bool interleaved = e.integer("interleaved", 0);
  if (!rank || (*rank != 3 && *rank != 4) || ShapedType::isDynamic(half))
    return e.error()
           << "the numbers of dimensions of its input and of the last dimension of its caches must be known, "
              "and the input has 3 or 4";
  if (turned && turned != 2 * half)
    return e.error() << "attribute 'rotary_embedding_dim' = " << turned << ", but the caches have " << half
                     << " columns";
  if (*rank == 4) {
    if (ShapedType::isDynamic(Expansion::sizeOf(rotary.x, -1)))
      return e.error() << "the last size of the input must be known";
    return SmallVector<Value>{rotate(e, rotary.x, rotary.cosines, rotary.sines, interleaved, 1)};
  }
  // Heads of this size, or this number of heads.
  int64_t hidden = Expansion::sizeOf(rotary.x, -1), size = rotary.size;
  if (!size && rotary.heads && !ShapedType::isDynamic(hidden))
    size = hidden / rotary.heads;
  if (!size || (rotary.heads && !ShapedType::isDynamic(hidden) && size * rotary.heads != hidden))
    return e.error() << "attribute 'num_heads' = " << rotary.heads << " does not fit an input of " << hidden
                     << " columns";
  Value heads = e.reshape(rotary.x, {0, 0, rotary.heads ? rotary.heads : -1, size});
  Value result = rotate(e, heads, rotary.cosines, rotary.sines, interleaved, 2);
  // Back by the input's own width, which a later pass need not work out.
  return SmallVector<Value>{e.reshape(result, {0, 0, ShapedType::isDynamic(hidden) ? -1 : hidden})};
}

// ONNX's: input, cosines, sines, positions. Without positions the caches are those of the tokens.
static Expanded ownRotary(Expansion &e) {
  if (failed(e.requireInputs({0, 1, 2})))
    return failure();
  Rotary rotary{e.in(0), e.in(1), e.in(2), e.integer("num_heads", 0), 0};
  if (Value positions = e.in(3)) {
    rotary.cosines = e.gather(rotary.cosines, positions);
    rotary.sines = e.gather(rotary.sines, positions);
  }
  return turn(e, rotary);
}

// ONNX Runtime's: input, positions, cosines, sines. One position is that of the first token.
static Expanded runtimeRotary(Expansion &e) {
  if (failed(e.requireInputs({0, 1, 2, 3})) || failed(e.requireAttribute("is_packed_batching", 0)))
    return failure();
  if (double scale = e.real("scale", 1.0); scale != 1.0)
    return e.error() << "attribute 'scale' = " << scale << " is not supported in compiled code";
  Rotary rotary{e.in(0), e.in(2), e.in(3), e.integer("num_heads", 0), 0};
  Value positions = e.in(1);
  std::optional<int64_t> rank = Expansion::rankOf(positions), inputRank = Expansion::rankOf(rotary.x);
  if (!rank || !inputRank)
    return e.error() << "the numbers of dimensions of its input and of its positions must be known";
  if (*rank == 1) {
    Value first =
        e.make("Squeeze", {positions, e.wholes({0})}, RankedTensorType::get({}, e.builder.getI64Type()));
    positions = e.plus(e.counted(e.size(rotary.x, *inputRank == 4 ? 2 : 1)), first);
  }
  // Of an input of three dimensions heads are as wide as the caches say, unless a width is turned in part.
  if (!e.integer("rotary_embedding_dim", 0) && *inputRank == 3) {
    int64_t half = Expansion::sizeOf(rotary.cosines, -1);
    rotary.size = ShapedType::isDynamic(half) ? 0 : 2 * half;
    rotary.heads = 0;
  }
  rotary.cosines = e.gather(rotary.cosines, positions);
  rotary.sines = e.gather(rotary.sines, positions);
  return turn(e, rotary);
}

void adapter::addRotaryExpansions(ExpansionTable &table) {
  table["::RotaryEmbedding"] = ownRotary;
  table["com.microsoft::RotaryEmbedding"] = runtimeRotary;
}
