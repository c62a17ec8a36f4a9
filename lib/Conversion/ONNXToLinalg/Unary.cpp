// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Operators of one input, element by element; casts and clips.
#include "lib/Conversion/ONNXToLinalg/Lowering.h"
#include "lib/Conversion/ONNXToLinalg/Scalars.h"
#include "lib/Support/Activations.h"
#include "lib/Support/ParameterStore.h"
#include <limits>

using namespace mlir;
using namespace adapter;
using checkpoint::Activation;
using B = ImplicitLocOpBuilder;

template <typename Body>
static LogicalResult lowerUnary(onnxir::NodeOp node, GraphLowering &graph, Body body,
                                bool floatsOnly = true) {
  Lowered *x = graph.input(node, 0);
  if (!x)
    return node.emitError() << describe(node) << ": input 0 is missing";
  if (floatsOnly && !isa<FloatType>(x->elementType))
    return node.emitError() << describe(node) << ": supported for floating-point tensors only";
  Lowered result =
      graph.elementwise({x}, x->elementType, [&](B &b, ArrayRef<Value> s) -> Value { return body(b, s[0]); });
  result.isUnsigned = x->isUnsigned;
  graph.set(node.getResult(0), std::move(result));
  return success();
}

template <typename OpT>
static LogicalResult lowerMath(onnxir::NodeOp node, GraphLowering &graph) {
  return lowerUnary(node, graph, [](B &b, Value x) -> Value { return OpT::create(b, x); });
}

static LogicalResult lowerAbs(onnxir::NodeOp node, GraphLowering &graph) {
  return lowerUnary(
      node, graph,
      [](B &b, Value x) -> Value {
        if (scalars::isFloat(x))
          return math::AbsFOp::create(b, x);
        Value zero = scalars::constant(b, x.getType(), 0);
        return arith::MaxSIOp::create(b, x, arith::SubIOp::create(b, zero, x));
      },
      /*floatsOnly=*/false);
}

static LogicalResult lowerNeg(onnxir::NodeOp node, GraphLowering &graph) {
  return lowerUnary(
      node, graph,
      [](B &b, Value x) -> Value {
        if (scalars::isFloat(x))
          return arith::NegFOp::create(b, x);
        return arith::SubIOp::create(b, scalars::constant(b, x.getType(), 0), x);
      },
      /*floatsOnly=*/false);
}

static LogicalResult lowerSign(onnxir::NodeOp node, GraphLowering &graph) {
  return lowerUnary(
      node, graph,
      [](B &b, Value x) -> Value {
        Value zero = scalars::constant(b, x.getType(), 0), one = scalars::constant(b, x.getType(), 1);
        Value minus = scalars::constant(b, x.getType(), -1);
        auto compare = [&](arith::CmpFPredicate f, arith::CmpIPredicate i) {
          return scalars::compare(b, x, zero, f, i, i, false);
        };
        Value positive = compare(arith::CmpFPredicate::OGT, arith::CmpIPredicate::sgt);
        Value negative = compare(arith::CmpFPredicate::OLT, arith::CmpIPredicate::slt);
        Value rest = arith::SelectOp::create(b, negative, minus, zero);
        return arith::SelectOp::create(b, positive, one, rest);
      },
      /*floatsOnly=*/false);
}

static LogicalResult lowerReciprocal(onnxir::NodeOp node, GraphLowering &graph) {
  return lowerUnary(node, graph, [](B &b, Value x) -> Value {
    return arith::DivFOp::create(b, scalars::constant(b, x.getType(), 1), x);
  });
}

static LogicalResult lowerRelu(onnxir::NodeOp node, GraphLowering &graph) {
  return lowerUnary(
      node, graph,
      [](B &b, Value x) { return scalars::maximum(b, x, scalars::constant(b, x.getType(), 0), false); },
      /*floatsOnly=*/false);
}

template <Activation function>
static LogicalResult lowerActivation(onnxir::NodeOp node, GraphLowering &graph) {
  return lowerUnary(node, graph, [](B &b, Value x) { return activate(b, function, x); });
}

static LogicalResult lowerSwish(onnxir::NodeOp node, GraphLowering &graph) {
  double alpha = floatAttr(node, "alpha", 1.0);
  return lowerUnary(node, graph, [&](B &b, Value x) -> Value {
    Value scaled = arith::MulFOp::create(b, x, scalars::constant(b, x.getType(), alpha));
    return arith::MulFOp::create(b, x, ScalarArithmetic(b).sigmoid(scaled));
  });
}

static LogicalResult lowerGelu(onnxir::NodeOp node, GraphLowering &graph) {
  return stringAttr(node, "approximate", "none") == "tanh"
             ? lowerActivation<Activation::GeluTanh>(node, graph)
             : lowerActivation<Activation::Gelu>(node, graph);
}

static LogicalResult lowerLeakyRelu(onnxir::NodeOp node, GraphLowering &graph) {
  double alpha = floatAttr(node, "alpha", 0.01);
  return lowerUnary(node, graph, [&](B &b, Value x) { return ScalarArithmetic(b).leakyRelu(x, alpha); });
}

static LogicalResult lowerElu(onnxir::NodeOp node, GraphLowering &graph) {
  double alpha = floatAttr(node, "alpha", 1.0);
  return lowerUnary(node, graph, [&](B &b, Value x) -> Value {
    Value zero = scalars::constant(b, x.getType(), 0);
    Value negative = arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, x, zero);
    Value exponential = math::ExpM1Op::create(b, x);
    Value scaled = arith::MulFOp::create(b, exponential, scalars::constant(b, x.getType(), alpha));
    return arith::SelectOp::create(b, negative, scaled, x);
  });
}

static LogicalResult lowerHardSigmoid(onnxir::NodeOp node, GraphLowering &graph) {
  double alpha = floatAttr(node, "alpha", 0.2), beta = floatAttr(node, "beta", 0.5);
  return lowerUnary(node, graph, [&](B &b, Value x) -> Value {
    auto number = [&](double value) { return scalars::constant(b, x.getType(), value); };
    Value line = arith::AddFOp::create(b, arith::MulFOp::create(b, x, number(alpha)), number(beta));
    return scalars::maximum(b, scalars::minimum(b, line, number(1), false), number(0), false);
  });
}

static LogicalResult lowerSoftplus(onnxir::NodeOp node, GraphLowering &graph) {
  return lowerUnary(node, graph, [](B &b, Value x) { return ScalarArithmetic(b).softplus(x); });
}

// x times the HardSwish line between 0 and 1.
static LogicalResult lowerHardSwish(onnxir::NodeOp node, GraphLowering &graph) {
  return lowerUnary(node, graph, [&](B &b, Value x) -> Value {
    auto number = [&](double value) { return scalars::constant(b, x.getType(), value); };
    Value line = arith::AddFOp::create(b, arith::MulFOp::create(b, x, number(1.0 / 6)), number(0.5));
    Value gate = scalars::maximum(b, scalars::minimum(b, line, number(1), false), number(0), false);
    return arith::MulFOp::create(b, x, gate);
  });
}

static LogicalResult lowerSelu(onnxir::NodeOp node, GraphLowering &graph) {
  double alpha = floatAttr(node, "alpha", 1.67326319217681884765625);
  double gamma = floatAttr(node, "gamma", 1.05070102214813232421875);
  return lowerUnary(node, graph, [&](B &b, Value x) -> Value {
    auto number = [&](double value) { return scalars::constant(b, x.getType(), value); };
    Value negative = arith::MulFOp::create(b, number(alpha), math::ExpM1Op::create(b, x));
    Value positive = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, x, number(0));
    return arith::MulFOp::create(b, number(gamma), arith::SelectOp::create(b, positive, x, negative));
  });
}

static LogicalResult lowerSoftsign(onnxir::NodeOp node, GraphLowering &graph) {
  return lowerUnary(node, graph, [&](B &b, Value x) -> Value {
    Value one = scalars::constant(b, x.getType(), 1);
    return arith::DivFOp::create(b, x, arith::AddFOp::create(b, one, math::AbsFOp::create(b, x)));
  });
}

static LogicalResult lowerIsInf(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0);
  bool positive = intAttr(node, "detect_positive", 1), negative = intAttr(node, "detect_negative", 1);
  if (!isa<FloatType>(x->elementType))
    return node.emitError() << describe(node) << ": supported for floating-point tensors only";
  graph.set(node.getResult(0),
            graph.elementwise({x}, graph.b.getI1Type(), [&](B &b, ArrayRef<Value> s) -> Value {
              auto equals = [&](double value) -> Value {
                Value number = scalars::constant(b, s[0].getType(), value);
                return arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, s[0], number);
              };
              Value result = arith::ConstantOp::create(b, b.getBoolAttr(false));
              if (positive)
                result = arith::OrIOp::create(b, result, equals(std::numeric_limits<double>::infinity()));
              if (negative)
                result = arith::OrIOp::create(b, result, equals(-std::numeric_limits<double>::infinity()));
              return result;
            }));
  return success();
}

static LogicalResult lowerNot(onnxir::NodeOp node, GraphLowering &graph) {
  return lowerUnary(
      node, graph,
      [](B &b, Value x) -> Value {
        return arith::XOrIOp::create(b, x, scalars::constant(b, x.getType(), 1));
      },
      /*floatsOnly=*/false);
}

static LogicalResult lowerIsNaN(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0);
  graph.set(node.getResult(0),
            graph.elementwise({x}, graph.b.getI1Type(), [](B &b, ArrayRef<Value> s) -> Value {
              return arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, s[0], s[0]);
            }));
  return success();
}

static LogicalResult lowerIdentity(onnxir::NodeOp node, GraphLowering &graph) {
  graph.set(node.getResult(0), *graph.input(node, 0));
  return success();
}

// As in inference: the identity, and a mask of all true.
static LogicalResult lowerDropout(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0);
  if (Lowered *training = graph.input(node, 2)) {
    APInt known;
    if (!training->elements || !matchPattern(training->elements->front(), m_ConstantInt(&known)) ||
        !known.isZero())
      return node.emitError() << describe(node) << ": training mode is not supported";
  }
  graph.set(node.getResult(0), *x);
  if (node.getNumResults() > 1 && !isa<NoneType>(node.getResult(1).getType()))
    graph.set(node.getResult(1), graph.generate(x->shape, graph.b.getI1Type(), [](B &b, ArrayRef<Value>) {
      return Value(arith::ConstantOp::create(b, b.getBoolAttr(true)));
    }));
  return success();
}

static LogicalResult lowerCast(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0);
  auto code = static_cast<checkpoint::DType>(intAttr(node, "to", 0));
  Type declared = code == checkpoint::DType::Undefined ? Type() : elementTypeOf(code, node.getContext());
  if (!declared || !declared.isIntOrFloat() || declared.getIntOrFloatBitWidth() == 4)
    return node.emitError() << describe(node) << ": casts to ONNX type " << static_cast<int>(code)
                            << " are not supported in compiled code";
  bool toUnsigned = declared.isUnsignedInteger();
  Type to = toUnsigned ? IntegerType::get(node.getContext(), declared.getIntOrFloatBitWidth()) : declared;
  bool fromUnsigned = x->isUnsigned;
  Lowered result = graph.elementwise(
      {x}, to, [&](B &b, ArrayRef<Value> s) { return scalars::cast(b, s[0], to, fromUnsigned, toUnsigned); });
  result.isUnsigned = toUnsigned;
  graph.set(node.getResult(0), std::move(result));
  return success();
}

static LogicalResult lowerClip(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered result = *graph.input(node, 0);
  bool isUnsigned = result.isUnsigned;
  for (unsigned i = 1; i <= 2; ++i)
    if (Lowered *bound = graph.input(node, i)) {
      Lowered before = result;
      result = graph.elementwise({&before, bound}, before.elementType, [&](B &b, ArrayRef<Value> s) {
        return i == 1 ? scalars::maximum(b, s[0], s[1], isUnsigned)
                      : scalars::minimum(b, s[0], s[1], isUnsigned);
      });
    }
  result.isUnsigned = isUnsigned;
  graph.set(node.getResult(0), std::move(result));
  return success();
}

// Before opset 11 the bounds were attributes.
static LogicalResult lowerClip6(onnxir::NodeOp node, GraphLowering &graph) {
  double low = floatAttr(node, "min", -3.4028234663852886e38),
         high = floatAttr(node, "max", 3.4028234663852886e38);
  return lowerUnary(node, graph, [&](B &b, Value x) {
    Value raised = scalars::maximum(b, x, scalars::constant(b, x.getType(), low), false);
    return scalars::minimum(b, raised, scalars::constant(b, x.getType(), high), false);
  });
}

void adapter::addUnaryLowerings(LoweringTable &table) {
  table.add("Abs", lowerAbs, 6);
  table.add("Neg", lowerNeg, 6);
  table.add("Sign", lowerSign, 9);
  table.add("Ceil", lowerMath<math::CeilOp>, 6);
  table.add("Floor", lowerMath<math::FloorOp>, 6);
  table.add("Round", lowerMath<math::RoundEvenOp>, 11);
  table.add("Cos", lowerMath<math::CosOp>, 7);
  table.add("Sin", lowerMath<math::SinOp>, 7);
  table.add("Erf", lowerMath<math::ErfOp>, 9);
  table.add("Exp", lowerMath<math::ExpOp>, 6);
  table.add("Log", lowerMath<math::LogOp>, 6);
  table.add("Sqrt", lowerMath<math::SqrtOp>, 6);
  table.add("Tanh", lowerMath<math::TanhOp>, 6);
  table.add("Reciprocal", lowerReciprocal, 6);
  table.add("Relu", lowerRelu, 6);
  table.add("Sigmoid", lowerActivation<Activation::Sigmoid>, 6);
  table.add("Swish", lowerSwish, 24);
  table.add("Gelu", lowerGelu, 20);
  table.add("LeakyRelu", lowerLeakyRelu, 6);
  table.add("Elu", lowerElu, 6);
  table.add("HardSigmoid", lowerHardSigmoid, 6);
  table.add("Softplus", lowerSoftplus);
  table.add("HardSwish", lowerHardSwish, 14);
  table.add("Selu", lowerSelu, 6);
  table.add("Softsign", lowerSoftsign);
  table.add("Mish", lowerActivation<Activation::Mish>, 18);
  table.add("IsInf", lowerIsInf, 10);
  table.add("Not", lowerNot);
  table.add("IsNaN", lowerIsNaN, 9);
  table.add("Identity", lowerIdentity);
  table.add("Dropout", lowerDropout, 10);
  table.add("Cast", lowerCast, 6);
  table.add("Clip", lowerClip, 11);
  table.add("Clip", lowerClip6, 6);
}
