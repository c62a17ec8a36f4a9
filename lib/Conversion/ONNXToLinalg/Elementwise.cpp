// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Operators of two and more broadcast inputs.
#include "lib/Conversion/ONNXToLinalg/Lowering.h"
#include "lib/Conversion/ONNXToLinalg/Scalars.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

// Folds all inputs with one binary operation.
template <typename Combine>
static LogicalResult lowerVariadic(onnxir::NodeOp node, GraphLowering &graph, Combine combine) {
  Lowered *first = graph.input(node, 0);
  if (!first)
    return node.emitError() << describe(node) << ": input 0 is missing";
  Lowered result = *first;
  for (unsigned i = 1; i < node.getInputs().size(); ++i) {
    Lowered *next = graph.input(node, i);
    Lowered before = result;
    bool isUnsigned = before.isUnsigned;
    result = graph.elementwise({&before, next}, before.elementType,
                               [&](B &b, ArrayRef<Value> x) { return combine(b, x[0], x[1], isUnsigned); });
    result.isUnsigned = isUnsigned;
  }
  graph.set(node.getResult(0), std::move(result));
  return success();
}

template <typename Body>
static LogicalResult lowerBinary(onnxir::NodeOp node, GraphLowering &graph, Body body, bool toBool = false) {
  Lowered *x = graph.input(node, 0), *y = graph.input(node, 1);
  if (!x || !y)
    return node.emitError() << describe(node) << ": an input is missing";
  if (x->elementType != y->elementType)
    return node.emitError() << describe(node) << ": inputs of different element types";
  bool isUnsigned = x->isUnsigned;
  Type type = toBool ? graph.b.getI1Type() : x->elementType;
  Lowered result = graph.elementwise(
      {x, y}, type, [&](B &b, ArrayRef<Value> s) { return body(b, s[0], s[1], isUnsigned); });
  result.isUnsigned = isUnsigned && !toBool;
  graph.set(node.getResult(0), std::move(result));
  return success();
}

static LogicalResult lowerAdd(onnxir::NodeOp node, GraphLowering &graph) {
  return lowerBinary(node, graph, [](B &b, Value x, Value y, bool) { return scalars::add(b, x, y); });
}
static LogicalResult lowerSub(onnxir::NodeOp node, GraphLowering &graph) {
  return lowerBinary(node, graph, [](B &b, Value x, Value y, bool) { return scalars::sub(b, x, y); });
}
static LogicalResult lowerMul(onnxir::NodeOp node, GraphLowering &graph) {
  return lowerBinary(node, graph, [](B &b, Value x, Value y, bool) { return scalars::mul(b, x, y); });
}
// In arithmetic on shapes, which is done once in a call and whose integers are of type index, 0 is no divisor.
static void requireDivisor(onnxir::NodeOp node, GraphLowering &graph, Value x, Value y) {
  if (!y.getType().isIndex())
    return;
  if (APInt known; matchPattern(y, m_ConstantInt(&known)) && !known.isZero())
    return;
  Value zero = arith::ConstantIndexOp::create(graph.b, 0);
  graph.require(arith::CmpIOp::create(graph.b, arith::CmpIPredicate::ne, y, zero),
                describe(node) + ": {0} is divided by 0", {OpFoldResult(x)});
}

static LogicalResult lowerDiv(onnxir::NodeOp node, GraphLowering &graph) {
  return lowerBinary(node, graph, [&](B &b, Value x, Value y, bool isUnsigned) -> Value {
    requireDivisor(node, graph, x, y);
    return scalars::divide(b, x, y, isUnsigned);
  });
}
static LogicalResult lowerMax(onnxir::NodeOp node, GraphLowering &graph) {
  return lowerVariadic(node, graph, scalars::maximum);
}
static LogicalResult lowerMin(onnxir::NodeOp node, GraphLowering &graph) {
  return lowerVariadic(node, graph, scalars::minimum);
}
static LogicalResult lowerSum(onnxir::NodeOp node, GraphLowering &graph) {
  return lowerVariadic(node, graph, [](B &b, Value x, Value y, bool) { return scalars::add(b, x, y); });
}

// x - y * n with the dividend's sign (truncated) or the divisor's, in f64, where the quotient of two f32 is
// good to their last bit. A finite x is its own remainder of infinity.
static Value floatRemainder(B &b, Value x, Value y, bool truncated) {
  Type type = x.getType(), wide = b.getF64Type();
  x = scalars::cast(b, x, wide, false, false);
  y = scalars::cast(b, y, wide, false, false);
  Value zero = scalars::constant(b, wide, 0);
  Value quotient = math::TruncOp::create(b, arith::DivFOp::create(b, x, y));
  Value rest = arith::SubFOp::create(b, x, arith::MulFOp::create(b, quotient, y));
  using F = arith::CmpFPredicate;
  Value infinity = scalars::constant(b, wide, std::numeric_limits<double>::infinity());
  Value isInf = arith::CmpFOp::create(b, F::OEQ, math::AbsFOp::create(b, y), infinity);
  Value isFinite = arith::CmpFOp::create(b, F::OLT, math::AbsFOp::create(b, x), infinity);
  rest = arith::SelectOp::create(b, arith::AndIOp::create(b, isInf, isFinite), x, rest);
  if (!truncated) {
    Value signs = arith::XOrIOp::create(b, arith::CmpFOp::create(b, F::OLT, rest, zero),
                                        arith::CmpFOp::create(b, F::OLT, y, zero));
    Value nonZero = arith::CmpFOp::create(b, F::ONE, rest, zero);
    Value differ = arith::AndIOp::create(b, nonZero, signs);
    rest = arith::SelectOp::create(b, differ, arith::AddFOp::create(b, rest, y), rest);
  }
  return scalars::cast(b, rest, type, false, false);
}

// The remainder with the dividend's sign (fmod = 1) or the divisor's.
static LogicalResult lowerMod(onnxir::NodeOp node, GraphLowering &graph) {
  bool truncated = intAttr(node, "fmod", 0);
  return lowerBinary(node, graph, [&](B &b, Value x, Value y, bool isUnsigned) -> Value {
    if (scalars::isFloat(x))
      return floatRemainder(b, x, y, truncated);
    requireDivisor(node, graph, x, y);
    Value quotient = scalars::divide(b, x, y, isUnsigned);
    Value rest = scalars::sub(b, x, scalars::mul(b, quotient, y));
    if (truncated || isUnsigned)
      return rest;
    Value zero = scalars::constant(b, x.getType(), 0);
    Value nonZero = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, rest, zero);
    Value signs = arith::XOrIOp::create(b, rest, y);
    Value differ = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, signs, zero);
    Value adjust = arith::AndIOp::create(b, nonZero, differ);
    return arith::SelectOp::create(b, adjust, scalars::add(b, rest, y), rest);
  });
}

static Value integerPower(B &b, Value x, int64_t exponent) {
  Value result = x;
  for (int64_t i = 1; i < exponent; ++i)
    result = scalars::mul(b, result, x);
  return result;
}

static LogicalResult lowerPow(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0), *y = graph.input(node, 1);
  Type type = x->elementType;
  std::optional<double> exponent;
  if (y->elements && y->elements->size() == 1) {
    FloatAttr floating;
    APInt integer;
    if (matchPattern(y->elements->front(), m_Constant(&floating)))
      exponent = floating.getValueAsDouble();
    else if (matchPattern(y->elements->front(), m_ConstantInt(&integer)))
      exponent = integer.getSExtValue();
  }
  bool isFloat = isa<FloatType>(type);
  if (exponent && (*exponent == 1 || *exponent == 2 || *exponent == 3 || *exponent == 4 ||
                   (isFloat && (*exponent == 0.5 || *exponent == -0.5 || *exponent == -1)))) {
    graph.set(node.getResult(0), graph.elementwise({x, y}, type, [&](B &b, ArrayRef<Value> s) -> Value {
      if (*exponent >= 1)
        return integerPower(b, s[0], static_cast<int64_t>(*exponent));
      Value one = scalars::constant(b, s[0].getType(), 1);
      Value root = *exponent == -1 ? s[0] : Value(math::SqrtOp::create(b, s[0]));
      return *exponent == 0.5 ? root : Value(arith::DivFOp::create(b, one, root));
    }));
    return success();
  }
  if (!isFloat)
    return node.emitError() << describe(node)
                            << ": powers of integers are supported for constant exponents 1 to 4 only";
  graph.set(node.getResult(0), graph.elementwise({x, y}, type, [&](B &b, ArrayRef<Value> s) -> Value {
    Value power = scalars::cast(b, s[1], s[0].getType(), false, false);
    return math::PowFOp::create(b, s[0], power);
  }));
  return success();
}

template <arith::CmpFPredicate F, arith::CmpIPredicate S, arith::CmpIPredicate U>
static LogicalResult lowerCompare(onnxir::NodeOp node, GraphLowering &graph) {
  return lowerBinary(
      node, graph,
      [](B &b, Value x, Value y, bool isUnsigned) { return scalars::compare(b, x, y, F, S, U, isUnsigned); },
      /*toBool=*/true);
}

template <typename OpT>
static LogicalResult lowerLogical(onnxir::NodeOp node, GraphLowering &graph) {
  return lowerBinary(node, graph, [](B &b, Value x, Value y, bool) -> Value { return OpT::create(b, x, y); });
}

static LogicalResult lowerWhere(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *condition = graph.input(node, 0), *x = graph.input(node, 1), *y = graph.input(node, 2);
  Lowered result = graph.elementwise({condition, x, y}, x->elementType, [](B &b, ArrayRef<Value> s) -> Value {
    return arith::SelectOp::create(b, s[0], s[1], s[2]);
  });
  result.isUnsigned = x->isUnsigned;
  graph.set(node.getResult(0), std::move(result));
  return success();
}

static LogicalResult lowerPRelu(onnxir::NodeOp node, GraphLowering &graph) {
  return lowerBinary(node, graph, [](B &b, Value x, Value slope, bool) -> Value {
    Value zero = scalars::constant(b, x.getType(), 0);
    Value negative = scalars::compare(b, x, zero, arith::CmpFPredicate::OLT, arith::CmpIPredicate::slt,
                                      arith::CmpIPredicate::ult, false);
    return arith::SelectOp::create(b, negative, scalars::mul(b, x, slope), x);
  });
}

void adapter::addElementwiseLowerings(LoweringTable &table) {
  using F = arith::CmpFPredicate;
  using I = arith::CmpIPredicate;
  table.add("Add", lowerAdd, 7);
  table.add("Sub", lowerSub, 7);
  table.add("Mul", lowerMul, 7);
  table.add("Div", lowerDiv, 7);
  table.add("Max", lowerMax);
  table.add("Min", lowerMin);
  table.add("Sum", lowerSum);
  table.add("Mod", lowerMod, 10);
  table.add("Pow", lowerPow, 7);
  table.add("Equal", lowerCompare<F::OEQ, I::eq, I::eq>, 7);
  table.add("Greater", lowerCompare<F::OGT, I::sgt, I::ugt>, 7);
  table.add("GreaterOrEqual", lowerCompare<F::OGE, I::sge, I::uge>, 12);
  table.add("Less", lowerCompare<F::OLT, I::slt, I::ult>, 7);
  table.add("LessOrEqual", lowerCompare<F::OLE, I::sle, I::ule>, 12);
  table.add("And", lowerLogical<arith::AndIOp>, 7);
  table.add("Or", lowerLogical<arith::OrIOp>, 7);
  table.add("Xor", lowerLogical<arith::XOrIOp>, 7);
  table.add("BitwiseAnd", lowerLogical<arith::AndIOp>, 18);
  table.add("BitwiseOr", lowerLogical<arith::OrIOp>, 18);
  table.add("BitwiseXor", lowerLogical<arith::XOrIOp>, 18);
  table.add("Where", lowerWhere, 9);
  table.add("PRelu", lowerPRelu, 7);
}
