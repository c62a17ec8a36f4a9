// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Products and convolutions, with what they do to their operands before and to the result behind.
#include "lib/Conversion/ONNXToONNX/Expansion.h"

using namespace mlir;
using namespace adapter;

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

// A function by name, whose numbers have the names of ONNX's attributes; null after an error.
static Value activated(Expansion &e, Value x, StringRef function,
                       llvm::function_ref<double(unsigned, double)> number) {
  auto one = [&](double fallback) { return e.attribute("alpha", number(0, fallback)); };
  if (function.empty() || llvm::is_contained({"Relu", "Sigmoid", "Tanh", "Softplus", "Softsign"}, function))
    return function.empty() ? x : e.unary(function, x);
  if (function == "LeakyRelu")
    return e.unary(function, x, one(0.01));
  if (function == "Elu")
    return e.unary(function, x, one(1.0));
  if (function == "HardSigmoid")
    return e.unary(function, x, {one(0.2), e.attribute("beta", number(1, 0.5))});
  if (function == "Clip")
    return e.make("Clip",
                  {x, e.number(number(0, std::numeric_limits<float>::lowest()), x),
                   e.number(number(1, std::numeric_limits<float>::max()), x)},
                  x.getType());
  (void)(e.error() << "attribute 'activation' = " << function << " is not supported in compiled code");
  return {};
}

// The node's attributes that ONNX's operator has, too.
static SmallVector<NamedAttribute> kept(Expansion &e, ArrayRef<StringRef> names) {
  SmallVector<NamedAttribute> attributes;
  for (StringRef name : names)
    if (Attribute value = e.node.getNodeAttr(name))
      attributes.emplace_back(e.builder.getStringAttr(name), value);
  return attributes;
}

static Expanded fusedGemm(Expansion &e) {
  if (failed(e.requireInputs({0, 1})))
    return failure();
  SmallVector<Value> inputs{e.in(0), e.in(1)};
  if (e.in(2))
    inputs.push_back(e.in(2));
  Value product =
      e.make("Gemm", inputs, e.node.getResult(0).getType(), kept(e, {"alpha", "beta", "transA", "transB"}));
  StringRef numbers[] = {"activation_alpha", "activation_beta"};
  Value result = activated(e, product, stringAttr(e.node, "activation", ""),
                           [&](unsigned i, double fallback) { return e.real(numbers[i], fallback); });
  if (!result)
    return failure();
  return SmallVector<Value>{result};
}

// A fourth input is added before the function.
static Expanded fusedConv(Expansion &e) {
  if (failed(e.requireInputs({0, 1})))
    return failure();
  SmallVector<Value> inputs{e.in(0), e.in(1)};
  if (e.in(2))
    inputs.push_back(e.in(2));
  SmallVector<NamedAttribute> attributes =
      kept(e, {"auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"});
  Value sum = e.plus(e.make("Conv", inputs, e.node.getResult(0).getType(), attributes), e.in(3));
  auto numbers = dyn_cast_or_null<DenseF32ArrayAttr>(e.node.getNodeAttr("activation_params"));
  Value result = activated(e, sum, stringAttr(e.node, "activation", ""), [&](unsigned i, double fallback) {
    return numbers && i < static_cast<unsigned>(numbers.size()) ? numbers[i] : fallback;
  });
  if (!result)
    return failure();
  return SmallVector<Value>{result};
}

void adapter::addProductExpansions(ExpansionTable &table) {
  table["com.microsoft::FusedMatMul"] = fusedMatMul;
  table["com.microsoft::FusedGemm"] = fusedGemm;
  table["com.microsoft::FusedConv"] = fusedConv;
}
