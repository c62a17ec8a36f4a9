// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// GraphLowering: values, index arithmetic; the table of lowerings.
#include "lib/Conversion/ONNXToLinalg/Lowering.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace adapter;

int64_t Lowered::staticSize(int64_t dim) const {
  return getConstantIntValue(shape[dim]).value_or(ShapedType::kDynamic);
}

bool Lowered::hasStaticShape() const {
  return llvm::all_of(shape, [](OpFoldResult size) { return getConstantIntValue(size).has_value(); });
}

//===----------------------------------------------------------------------===//
// The table
//===----------------------------------------------------------------------===//

static std::string rowName(StringRef domain, StringRef operatorName) {
  return ((domain == "ai.onnx" ? "" : domain) + "::" + operatorName).str();
}

void LoweringTable::add(StringRef operatorName, LowerNodeFunction function, int64_t since, StringRef domain) {
  rows[rowName(domain, operatorName)].emplace_back(since, function);
}

LowerNodeFunction LoweringTable::lookup(StringRef domain, StringRef operatorName, int64_t version) const {
  auto row = rows.find(rowName(domain, operatorName));
  LowerNodeFunction best = nullptr;
  int64_t bestSince = 0;
  if (row != rows.end())
    for (auto [since, function] : row->second)
      if (since <= version && since > bestSince) {
        best = function;
        bestSince = since;
      }
  return best;
}

const LoweringTable &LoweringTable::get() {
  static const LoweringTable table = [] {
    LoweringTable made;
    addElementwiseLowerings(made);
    addUnaryLowerings(made);
    addShapeLowerings(made);
    addLayoutLowerings(made);
    addReductionLowerings(made);
    addNormalizationLowerings(made);
    addProductLowerings(made);
    addGatherLowerings(made);
    addConvolutionLowerings(made);
    addPoolingLowerings(made);
    addResizeLowerings(made);
    addScatterLowerings(made);
    addTopKLowerings(made);
    return made;
  }();
  return table;
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

Lowered *GraphLowering::input(onnxir::NodeOp node, unsigned index) {
  Value operand = node.getInputOrNull(index);
  return operand ? &get(operand) : nullptr;
}

std::string GraphLowering::describeOperand(const Lowered &operand) {
  for (unsigned i = 0; node && i < node.getInputs().size(); ++i)
    if (Lowered *each = input(node, i);
        each && (each == &operand || (each->tensor && each->tensor == operand.tensor)))
      return describeInput(node, i);
  return "an operand";
}

Lowered GraphLowering::wrap(Value tensor, ArrayRef<OpFoldResult> shape) {
  Lowered result;
  result.tensor = tensor;
  result.shape.assign(shape.begin(), shape.end());
  result.elementType = cast<RankedTensorType>(tensor.getType()).getElementType();
  return result;
}

Lowered GraphLowering::wrapElements(ArrayRef<Value> elements, ArrayRef<int64_t> shape, Type type) {
  Lowered result;
  for (int64_t size : shape)
    result.shape.push_back(constant(size));
  result.elementType = type;
  result.elements.emplace(elements.begin(), elements.end());
  return result;
}

Value GraphLowering::tensor(Lowered &value) {
  if (!value.tensor) {
    RankedTensorType type = typeOf(value.shape, value.elementType);
    SmallVector<Value> elements;
    for (Value element : *value.elements) {
      if (element.getType() != value.elementType)
        element = b.createOrFold<arith::IndexCastOp>(value.elementType, element);
      elements.push_back(element);
    }
    value.tensor = tensor::FromElementsOp::create(b, type, elements);
  }
  return value.tensor;
}

std::optional<SmallVector<int64_t>> GraphLowering::constantIntegers(const Lowered &value) {
  if (!value.elements)
    return std::nullopt;
  SmallVector<int64_t> integers;
  for (Value element : *value.elements) {
    APInt constant;
    if (!matchPattern(element, m_ConstantInt(&constant)))
      return std::nullopt;
    integers.push_back(constant.getSExtValue());
  }
  return integers;
}

std::optional<SmallVector<OpFoldResult>> GraphLowering::elementsAsIndex(const Lowered &value) {
  if (!value.elements || !value.elementType.isInteger() || value.elementType.isInteger(1))
    return std::nullopt;
  SmallVector<OpFoldResult> result;
  for (Value element : *value.elements) {
    APInt constantValue;
    if (matchPattern(element, m_ConstantInt(&constantValue)))
      result.push_back(constant(constantValue.getSExtValue()));
    else
      result.push_back(element);
  }
  return result;
}

void GraphLowering::loadElements(Lowered &value) {
  if (value.elements || !value.hasStaticShape())
    return;
  int64_t count = 1;
  for (int64_t dim = 0; dim < value.rank(); ++dim)
    count *= value.staticSize(dim);
  if (count > 64 || !value.elementType.isIntOrIndex())
    return;
  SmallVector<Value> loaded;
  for (int64_t i = 0; i < count; ++i) {
    SmallVector<Value> indices(value.rank());
    int64_t rest = i;
    for (int64_t dim = value.rank() - 1; dim >= 0; --dim) {
      indices[dim] = this->value(constant(rest % value.staticSize(dim)));
      rest /= value.staticSize(dim);
    }
    Value element = tensor::ExtractOp::create(b, value.tensor, indices);
    if (!value.elementType.isInteger(1))
      element = arith::IndexCastOp::create(b, b.getIndexType(), element);
    loaded.push_back(element);
  }
  value.elements = std::move(loaded);
}

//===----------------------------------------------------------------------===//
// Index arithmetic
//===----------------------------------------------------------------------===//

Value GraphLowering::value(OpFoldResult size) {
  if (auto existing = dyn_cast<Value>(size))
    return existing;
  return unique(arith::ConstantIndexOp::create(b, *getConstantIntValue(size)));
}

Value GraphLowering::unique(Value computed) {
  Operation *op = computed.getDefiningOp();
  if (!op || op->getBlock() != b.getInsertionBlock())
    return computed;
  for (Operation *earlier : scalarOps)
    if (earlier != op && earlier->getBlock() == op->getBlock() &&
        OperationEquivalence::isEquivalentTo(earlier, op, OperationEquivalence::IgnoreLocations)) {
      // Only what was just made: others may hold an older one, which need not have uses yet.
      if (std::next(op->getIterator()) == b.getInsertionPoint() && op->use_empty())
        op->erase();
      return earlier->getResult(0);
    }
  scalarOps.push_back(op);
  return computed;
}

template <typename OpT, typename Fold>
static OpFoldResult arithmetic(GraphLowering &graph, OpFoldResult x, OpFoldResult y, Fold fold) {
  std::optional<int64_t> constantX = getConstantIntValue(x), constantY = getConstantIntValue(y);
  if (constantX && constantY)
    return graph.constant(fold(*constantX, *constantY));
  return graph.unique(OpT::create(graph.b, graph.value(x), graph.value(y)));
}

OpFoldResult GraphLowering::add(OpFoldResult x, OpFoldResult y) {
  if (isConstantIntValue(x, 0))
    return y;
  if (isConstantIntValue(y, 0))
    return x;
  return arithmetic<arith::AddIOp>(*this, x, y, [](int64_t p, int64_t q) { return p + q; });
}

OpFoldResult GraphLowering::sub(OpFoldResult x, OpFoldResult y) {
  if (isConstantIntValue(y, 0))
    return x;
  if (same(x, y))
    return constant(0);
  return arithmetic<arith::SubIOp>(*this, x, y, [](int64_t p, int64_t q) { return p - q; });
}

OpFoldResult GraphLowering::mul(OpFoldResult x, OpFoldResult y) {
  if (isConstantIntValue(x, 1))
    return y;
  if (isConstantIntValue(y, 1))
    return x;
  return arithmetic<arith::MulIOp>(*this, x, y, [](int64_t p, int64_t q) { return p * q; });
}

OpFoldResult GraphLowering::divide(OpFoldResult x, OpFoldResult y) {
  if (isConstantIntValue(y, 1))
    return x;
  if (same(x, y) && !isConstantIntValue(y, 0))
    return constant(1);
  // Sizes are never negative; a divisor of zero (an empty tensor) must not trap.
  if (getConstantIntValue(y).value_or(1) == 0)
    return constant(0);
  if (!getConstantIntValue(y))
    y = max(y, constant(1));
  return arithmetic<arith::DivSIOp>(*this, x, y, [](int64_t p, int64_t q) { return p / q; });
}

OpFoldResult GraphLowering::max(OpFoldResult x, OpFoldResult y) {
  if (same(x, y))
    return x;
  return arithmetic<arith::MaxSIOp>(*this, x, y, [](int64_t p, int64_t q) { return std::max(p, q); });
}

OpFoldResult GraphLowering::min(OpFoldResult x, OpFoldResult y) {
  if (same(x, y))
    return x;
  return arithmetic<arith::MinSIOp>(*this, x, y, [](int64_t p, int64_t q) { return std::min(p, q); });
}

OpFoldResult GraphLowering::product(ArrayRef<OpFoldResult> factors) {
  // Constants last, so that products that differ in the place of a constant are one value.
  OpFoldResult result = constant(1);
  int64_t constants = 1;
  for (OpFoldResult factor : factors) {
    if (std::optional<int64_t> known = getConstantIntValue(factor))
      constants *= *known;
    else
      result = mul(result, factor);
  }
  return constants == 0 ? constant(0) : mul(result, constant(constants));
}

// Takes products apart, so that what is a factor on both sides can be cancelled.
static void collectFactors(OpFoldResult size, int64_t &constants, SmallVectorImpl<OpFoldResult> &factors) {
  if (std::optional<int64_t> known = getConstantIntValue(size)) {
    constants *= *known;
    return;
  }
  Value value = cast<Value>(size);
  APInt constant;
  if (matchPattern(value, m_ConstantInt(&constant))) {
    constants *= constant.getSExtValue();
    return;
  }
  if (auto mul = value.getDefiningOp<arith::MulIOp>()) {
    collectFactors(mul.getLhs(), constants, factors);
    collectFactors(mul.getRhs(), constants, factors);
    return;
  }
  factors.push_back(size);
}

namespace {
// A quotient of products with common factors cancelled.
struct Fraction {
  int64_t top = 1, bottom = 1;
  SmallVector<OpFoldResult> above, below;

  Fraction(ArrayRef<OpFoldResult> numerator, ArrayRef<OpFoldResult> denominator) {
    SmallVector<OpFoldResult> factors;
    for (OpFoldResult factor : numerator)
      collectFactors(factor, top, above);
    for (OpFoldResult factor : denominator)
      collectFactors(factor, bottom, factors);
    for (OpFoldResult factor : factors)
      if (auto *twin = llvm::find(above, factor); twin != above.end())
        above.erase(twin);
      else
        below.push_back(factor);
    if (bottom != 0 && top % bottom == 0) {
      top /= bottom;
      bottom = 1;
    }
  }
};
} // namespace

OpFoldResult GraphLowering::quotient(ArrayRef<OpFoldResult> numerator, ArrayRef<OpFoldResult> denominator) {
  Fraction fraction(numerator, denominator);
  fraction.above.push_back(constant(fraction.top));
  fraction.below.push_back(constant(fraction.bottom));
  return divide(product(fraction.above), product(fraction.below));
}

std::optional<OpFoldResult> GraphLowering::exactQuotient(ArrayRef<OpFoldResult> numerator,
                                                         ArrayRef<OpFoldResult> denominator) {
  Fraction fraction(numerator, denominator);
  if (!fraction.below.empty() || fraction.bottom != 1)
    return std::nullopt;
  fraction.above.push_back(constant(fraction.top));
  return product(fraction.above);
}

// The message with the values that are known; the others are numbered anew and go to `dynamic`.
static std::string putKnownIn(StringRef message, ArrayRef<OpFoldResult> values,
                              SmallVectorImpl<Value> &dynamic) {
  std::string text = message.str();
  for (auto [i, value] : llvm::enumerate(values)) {
    std::string place = "{" + std::to_string(i) + "}", stands;
    if (std::optional<int64_t> known = getConstantIntValue(value)) {
      stands = std::to_string(*known);
    } else {
      stands = "{" + std::to_string(dynamic.size()) + "}";
      dynamic.push_back(cast<Value>(value));
    }
    if (size_t at = text.rfind(place); at != std::string::npos)
      text.replace(at, place.size(), stands);
  }
  return text;
}

Operation *GraphLowering::require(Value condition, const Twine &message, ArrayRef<OpFoldResult> values) {
  APInt known;
  if (matchPattern(condition, m_ConstantInt(&known)) && known.isOne())
    return nullptr;
  SmallVector<Value> dynamic;
  std::string text = putKnownIn(message.str(), values, dynamic);
  return kernel::RequireOp::create(b, condition, b.getStringAttr(text), dynamic);
}

bool GraphLowering::mayBeNegative(OpFoldResult size) {
  if (std::optional<int64_t> known = getConstantIntValue(size))
    return *known < 0;
  Operation *op = cast<Value>(size).getDefiningOp();
  if (!op || isa<tensor::DimOp>(op))
    return false;
  if (isa<arith::SelectOp>(op))
    return mayBeNegative(op->getOperand(1)) || mayBeNegative(op->getOperand(2));
  if (isa<arith::MaxSIOp>(op))
    return mayBeNegative(op->getOperand(0)) && mayBeNegative(op->getOperand(1));
  if (isa<arith::AddIOp, arith::MulIOp, arith::DivSIOp, arith::MinSIOp>(op))
    return mayBeNegative(op->getOperand(0)) || mayBeNegative(op->getOperand(1));
  return true;
}

void GraphLowering::requireSize(OpFoldResult size, const Twine &message) {
  if (!mayBeNegative(size))
    return;
  if (std::optional<int64_t> known = getConstantIntValue(size)) {
    if (fault.empty())
      fault = (message + ": " + Twine(*known)).str();
    return;
  }
  // As unsigned numbers negative ones are too big as well.
  Value bound = value(constant(int64_t(1) << 40));
  require(arith::CmpIOp::create(b, arith::CmpIPredicate::ult, value(size), bound), message + ": {0}", {size});
}

void GraphLowering::requireEqual(OpFoldResult x, OpFoldResult y, const Twine &message) {
  if (same(x, y))
    return;
  std::string text = message.str();
  if (text.find("{1}") == std::string::npos)
    text += ": {0} and {1}";
  std::optional<int64_t> knownX = getConstantIntValue(x), knownY = getConstantIntValue(y);
  SmallVector<Value> none;
  if (!knownX || !knownY)
    require(arith::CmpIOp::create(b, arith::CmpIPredicate::eq, value(x), value(y)), text, {x, y});
  else if (*knownX != *knownY && fault.empty())
    fault = putKnownIn(text, {x, y}, none);
}
