// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Functions of one number, with the bias before them.
#include "lib/Conversion/ONNXToONNX/Expansion.h"

using namespace mlir;
using namespace adapter;

static Expanded gelu(Expansion &e) {
  if (failed(e.requireInputs({0})))
    return failure();
  return SmallVector<Value>{e.unary("Gelu", e.in(0))};
}

static Expanded biasGelu(Expansion &e) {
  if (failed(e.requireInputs({0, 1})))
    return failure();
  return SmallVector<Value>{e.unary("Gelu", e.plus(e.in(0), e.in(1)))};
}

static Expanded fastGelu(Expansion &e) {
  if (failed(e.requireInputs({0})))
    return failure();
  return SmallVector<Value>{
      e.unary("Gelu", e.plus(e.in(0), e.in(1)), e.attribute("approximate", StringRef("tanh")))};
}

static Expanded quickGelu(Expansion &e) {
  if (failed(e.requireInputs({0})))
    return failure();
  Value gate = e.unary("Sigmoid", e.times(e.in(0), e.real("alpha", 1.702)));
  return SmallVector<Value>{e.binary("Mul", e.in(0), gate)};
}

void adapter::addActivationExpansions(ExpansionTable &table) {
  table["com.microsoft::Gelu"] = gelu;
  table["com.microsoft::BiasGelu"] = biasGelu;
  table["com.microsoft::FastGelu"] = fastGelu;
  table["com.microsoft::QuickGelu"] = quickGelu;
}
