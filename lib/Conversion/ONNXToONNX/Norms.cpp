// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Norms that add before they normalise, and the embeddings of BERT with their norm.
#include "lib/Conversion/ONNXToONNX/Expansion.h"

using namespace mlir;
using namespace adapter;

static Value rmsNorm(Expansion &e, Value x, Value weight, int64_t axis, double epsilon) {
  return e.make("RMSNormalization", {x, weight}, x.getType(),
                {e.attribute("axis", axis), e.attribute("epsilon", epsilon)});
}

static Value layerNorm(Expansion &e, Value x, Value weight, Value bias, double epsilon) {
  SmallVector<Value> inputs{x, weight};
  if (bias)
    inputs.push_back(bias);
  return e.make("LayerNormalization", inputs, x.getType(),
                {e.attribute("axis", static_cast<int64_t>(-1)), e.attribute("epsilon", epsilon)});
}

static Expanded simplifiedLayerNorm(Expansion &e) {
  if (failed(e.requireInputs({0, 1})) || failed(e.refuseInput(2, "B")))
    return failure();
  int64_t axis = e.integer("axis", -1);
  double epsilon = e.real("epsilon", 1e-5);
  SmallVector<Value> results{rmsNorm(e, e.in(0), e.in(1), axis, epsilon), {}};
  if (e.isUsed(1)) {
    std::optional<int64_t> rank = Expansion::rankOf(e.in(0));
    if (axis != -1 && (!rank || axis != *rank - 1))
      return e.error() << "result 'inv_std_var' is used, which is supported for the last axis alone";
    Value squares = e.reduce("ReduceMean", e.binary("Mul", e.in(0), e.in(0)), -1, /*keepDims=*/true);
    results[1] = e.unary("Reciprocal", e.unary("Sqrt", e.plus(squares, e.number(epsilon, squares))));
  }
  return results;
}

// What both norms with a skip share: statistics are training's, and ONNX Runtime's CPU provider has none.
static LogicalResult refuseStatistics(Expansion &e) {
  return failure(failed(e.requireInputs({0, 1, 2})) || failed(e.refuseResult(1, "mean")) ||
                 failed(e.refuseResult(2, "inv_std_var")));
}

static constexpr double skipEpsilon = 1e-12;

static Expanded skipLayerNorm(Expansion &e) {
  if (failed(refuseStatistics(e)))
    return failure();
  Value sum = e.plus(e.binary("Add", e.in(0), e.in(1)), e.in(4));
  return SmallVector<Value>{layerNorm(e, sum, e.in(2), e.in(3), e.real("epsilon", skipEpsilon)), {}, {}, sum};
}

static Expanded skipSimplifiedLayerNorm(Expansion &e) {
  if (failed(refuseStatistics(e)))
    return failure();
  Value sum = e.plus(e.binary("Add", e.in(0), e.in(1)), e.in(3));
  return SmallVector<Value>{rmsNorm(e, sum, e.in(2), -1, e.real("epsilon", skipEpsilon)), {}, {}, sum};
}

// Word by word, then position and segment; the mask is only counted.
static Expanded embedLayerNorm(Expansion &e) {
  if (failed(e.requireInputs({0, 2, 3, 5, 6})))
    return failure();
  Value ids = e.in(0), segments = e.in(1), mask = e.in(7), positions = e.in(8);
  if (segments && failed(e.requireInputs({4})))
    return failure();
  Value sum = e.gather(e.in(2), ids);
  sum = e.plus(sum, positions ? e.gather(e.in(3), positions) : e.gather(e.in(3), e.counted(e.size(ids, 1))));
  if (segments)
    sum = e.plus(sum, e.gather(e.in(4), segments));
  SmallVector<Value> results{layerNorm(e, sum, e.in(5), e.in(6), e.real("epsilon", skipEpsilon)), {}, sum};
  if (e.isUsed(1)) {
    // How many of the mask are 1; without a mask 0.
    Type i32 = e.builder.getI32Type();
    Value counted = mask ? e.cast(e.compare("Equal", mask, e.cast(e.whole(1), elementTypeOf(mask))), i32)
                         : e.binary("Mul", e.cast(ids, i32), e.cast(e.whole(0), i32));
    results[1] = e.reduce("ReduceSum", counted, 1, /*keepDims=*/false);
  }
  return results;
}

void adapter::addNormExpansions(ExpansionTable &table) {
  // ONNX Runtime puts it into ONNX's domain, too.
  table["::SimplifiedLayerNormalization"] = simplifiedLayerNorm;
  table["com.microsoft::SimplifiedLayerNormalization"] = simplifiedLayerNorm;
  table["com.microsoft::SkipLayerNormalization"] = skipLayerNorm;
  table["com.microsoft::SkipSimplifiedLayerNormalization"] = skipSimplifiedLayerNorm;
  table["com.microsoft::EmbedLayerNormalization"] = embedLayerNorm;
}
