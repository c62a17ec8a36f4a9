// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Functions of one number, with the bias before them, and products with what they do to their operands.
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

// An operand of FusedMatMul as MatMul has it; null after an error. A vector has nothing to transpose.
static Value matrixOf(Expansion &e, unsigned index, StringRef side) {
  Value x = e.in(index);
  bool swaps = e.integer(("trans" + side).str(), 0), turns = e.integer(("transBatch" + side).str(), 0);
  if (!swaps && !turns)
    return x;
  std::optional<int64_t> rank = Expansion::rankOf(x);
  if (!rank) {
    (void)(e.error() << "the number of dimensions of " << describeInput(e.node, index)
                     << " is not known; give the model's values their types");
    return {};
  }
  if (*rank < 2)
    return x;
  SmallVector<int64_t> order = llvm::to_vector(llvm::seq<int64_t>(0, *rank));
  // The first dimension goes behind those of the batch.
  if (turns)
    std::rotate(order.begin(), order.begin() + 1, order.end() - 1);
  if (swaps)
    std::swap(order[*rank - 2], order[*rank - 1]);
  return e.transpose(x, order);
}

static Expanded fusedMatMul(Expansion &e) {
  if (failed(e.requireInputs({0, 1})))
    return failure();
  Value a = matrixOf(e, 0, "A"), b = a ? matrixOf(e, 1, "B") : Value();
  if (!b)
    return failure();
  return SmallVector<Value>{e.times(e.matMul(a, b), e.real("alpha", 1.0))};
}

void adapter::addActivationExpansions(ExpansionTable &table) {
  table["com.microsoft::Gelu"] = gelu;
  table["com.microsoft::BiasGelu"] = biasGelu;
  table["com.microsoft::FastGelu"] = fastGelu;
  table["com.microsoft::QuickGelu"] = quickGelu;
}

void adapter::addProductExpansions(ExpansionTable &table) {
  table["com.microsoft::FusedMatMul"] = fusedMatMul;
}
