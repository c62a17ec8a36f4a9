// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reductions, arg-reductions and running sums.
#include "lib/Conversion/ONNXToLinalg/Provenance.h"
#include "lib/Conversion/ONNXToLinalg/Scalars.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include <limits>

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

FailureOr<SmallVector<int64_t>> adapter::reducedAxes(onnxir::NodeOp node, GraphLowering &graph,
                                                     int64_t rank) {
  std::optional<SmallVector<int64_t>> axes = intsAttr(node, "axes");
  if (Lowered *input = graph.input(node, 1)) {
    axes = graph.constantIntegers(*input);
    if (!axes)
      return node.emitError() << describe(node) << ": axes must be constant";
  }
  SmallVector<int64_t> result;
  if (!axes || axes->empty()) {
    if (!intAttr(node, "noop_with_empty_axes", 0))
      for (int64_t dim = 0; dim < rank; ++dim)
        result.push_back(dim);
    return result;
  }
  for (int64_t axis : *axes) {
    FailureOr<int64_t> normal = normalizeAxis(node, axis, rank);
    if (failed(normal))
      return failure();
    result.push_back(*normal);
  }
  return result;
}

static Value lowest(B &b, Type type, bool isUnsigned) {
  if (auto floating = dyn_cast<FloatType>(type))
    return arith::ConstantOp::create(b, b.getFloatAttr(floating, -std::numeric_limits<double>::infinity()));
  unsigned width = type.getIntOrFloatBitWidth();
  APInt value = isUnsigned || width == 1 ? APInt::getZero(width) : APInt::getSignedMinValue(width);
  return arith::ConstantOp::create(b, b.getIntegerAttr(type, value));
}

static Value highest(B &b, Type type, bool isUnsigned) {
  if (auto floating = dyn_cast<FloatType>(type))
    return arith::ConstantOp::create(b, b.getFloatAttr(floating, std::numeric_limits<double>::infinity()));
  unsigned width = type.getIntOrFloatBitWidth();
  APInt value = isUnsigned || width == 1 ? APInt::getMaxValue(width) : APInt::getSignedMaxValue(width);
  return arith::ConstantOp::create(b, b.getIntegerAttr(type, value));
}

enum class Kind { Sum, Mean, Max, Min, Prod, SumSquare, L1, L2, LogSum };

template <Kind kind>
static LogicalResult lowerReduce(onnxir::NodeOp node, GraphLowering &graph) {
  B &b = graph.b;
  Lowered *x = graph.input(node, 0);
  FailureOr<SmallVector<int64_t>> axes = reducedAxes(node, graph, x->rank());
  if (failed(axes))
    return failure();
  bool keepDims = intAttr(node, "keepdims", 1), isUnsigned = x->isUnsigned;
  Type type = x->elementType;
  Value initial = scalars::constant(b, type, kind == Kind::Prod ? 1 : 0);
  if (kind == Kind::Max)
    initial = lowest(b, type, isUnsigned);
  if (kind == Kind::Min)
    initial = highest(b, type, isUnsigned);
  Lowered result = graph.reduce(*x, *axes, keepDims, initial, [&](B &b, Value element, Value sum) -> Value {
    switch (kind) {
    case Kind::Max:
      return scalars::maximum(b, element, sum, isUnsigned);
    case Kind::Min:
      return scalars::minimum(b, element, sum, isUnsigned);
    case Kind::Prod:
      if (scalars::isFloat(element))
        return arith::MulFOp::create(b, element, sum, scalars::reassociate(b));
      return arith::MulIOp::create(b, element, sum);
    case Kind::SumSquare:
    case Kind::L2:
      return scalars::accumulate(b, scalars::mul(b, element, element), sum);
    case Kind::L1:
      if (scalars::isFloat(element))
        return scalars::accumulate(b, math::AbsFOp::create(b, element), sum);
      return scalars::accumulate(b, math::AbsIOp::create(b, element), sum);
    default:
      return scalars::accumulate(b, element, sum);
    }
  });
  result.isUnsigned = isUnsigned;
  if (kind == Kind::Mean) {
    SmallVector<OpFoldResult> reduced;
    for (int64_t axis : *axes)
      reduced.push_back(x->shape[axis]);
    Value count = arith::IndexCastOp::create(b, b.getI64Type(), graph.value(graph.product(reduced)));
    Value divisor = isa<FloatType>(type) ? Value(arith::SIToFPOp::create(b, type, count))
                                         : scalars::cast(b, count, type, false, isUnsigned);
    result = graph.elementwise({&result}, type, [&](B &b, ArrayRef<Value> s) {
      return scalars::divide(b, s[0], divisor, isUnsigned);
    });
  }
  if (kind == Kind::L2)
    result = graph.elementwise(
        {&result}, type, [](B &b, ArrayRef<Value> s) -> Value { return math::SqrtOp::create(b, s[0]); });
  if (kind == Kind::LogSum)
    result = graph.elementwise({&result}, type,
                               [](B &b, ArrayRef<Value> s) -> Value { return math::LogOp::create(b, s[0]); });
  graph.set(node.getResult(0), std::move(result));
  return success();
}

// The index of the largest (smallest) element along one axis: a scan by rows, kept in two registers.
template <bool isMax>
static LogicalResult lowerArg(onnxir::NodeOp node, GraphLowering &graph) {
  B &b = graph.b;
  Lowered *x = graph.input(node, 0);
  FailureOr<int64_t> axis = normalizeAxis(node, intAttr(node, "axis", 0), x->rank());
  if (failed(axis))
    return failure();
  bool last = intAttr(node, "select_last_index", 0), isUnsigned = x->isUnsigned;
  SmallVector<OpFoldResult> kept, shape;
  for (int64_t dim = 0; dim < x->rank(); ++dim) {
    if (dim != *axis)
      kept.push_back(x->shape[dim]);
    if (dim != *axis || intAttr(node, "keepdims", 1))
      shape.push_back(dim == *axis ? graph.constant(1) : x->shape[dim]);
  }
  Value source = graph.tensor(*x), length = graph.value(x->shape[*axis]);
  Type type = x->elementType;
  Lowered result = graph.generate(kept, b.getI64Type(), [&](B &b, ArrayRef<Value> at) -> Value {
    Value zero = arith::ConstantIndexOp::create(b, 0), one = arith::ConstantIndexOp::create(b, 1);
    Value start = isMax ? lowest(b, type, isUnsigned) : highest(b, type, isUnsigned);
    auto loop = scf::ForOp::create(b, zero, length, one, ValueRange{start, zero});
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    SmallVector<Value> indices(at);
    indices.insert(indices.begin() + *axis, loop.getInductionVar());
    Value element = tensor::ExtractOp::create(b, source, indices);
    Value best = loop.getRegionIterArgs()[0], bestAt = loop.getRegionIterArgs()[1];
    using F = arith::CmpFPredicate;
    using I = arith::CmpIPredicate;
    Value better = isMax ? scalars::compare(b, element, best, last ? F::OGE : F::OGT, last ? I::sge : I::sgt,
                                            last ? I::uge : I::ugt, isUnsigned)
                         : scalars::compare(b, element, best, last ? F::OLE : F::OLT, last ? I::sle : I::slt,
                                            last ? I::ule : I::ult, isUnsigned);
    Value value = arith::SelectOp::create(b, better, element, best);
    Value index = arith::SelectOp::create(b, better, loop.getInductionVar(), bestAt);
    scf::YieldOp::create(b, ValueRange{value, index});
    b.setInsertionPointAfter(loop);
    return arith::IndexCastOp::create(b, b.getI64Type(), loop.getResult(1));
  });
  graph.set(node.getResult(0), graph.reshape(result, shape));
  return success();
}

// Each element sums its prefix: quadratic in the axis, which is a sequence length at most and cheap beside
// a model's products, and parallel over everything else.
static LogicalResult lowerCumSum(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0), *axisInput = graph.input(node, 1);
  std::optional<SmallVector<int64_t>> constant = graph.constantIntegers(*axisInput);
  if (!constant)
    return node.emitError() << describe(node) << ": the axis must be constant";
  FailureOr<int64_t> axis = normalizeAxis(node, constant->front(), x->rank());
  if (failed(axis))
    return failure();
  bool exclusive = intAttr(node, "exclusive", 0), reverse = intAttr(node, "reverse", 0);
  Value source = graph.tensor(*x), length = graph.value(x->shape[*axis]);
  Type type = x->elementType;
  Lowered result = graph.generate(x->shape, type, [&](B &b, ArrayRef<Value> at) -> Value {
    Value zero = arith::ConstantIndexOp::create(b, 0), one = arith::ConstantIndexOp::create(b, 1);
    Value here = at[*axis], next = arith::AddIOp::create(b, here, one);
    Value from = reverse ? (exclusive ? next : here) : zero;
    Value to = reverse ? length : (exclusive ? here : next);
    auto loop = scf::ForOp::create(b, from, to, one, ValueRange{scalars::constant(b, type, 0)});
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    SmallVector<Value> indices(at);
    indices[*axis] = loop.getInductionVar();
    Value element = tensor::ExtractOp::create(b, source, indices);
    scf::YieldOp::create(b, ValueRange{scalars::add(b, loop.getRegionIterArgs()[0], element)});
    b.setInsertionPointAfter(loop);
    return loop.getResult(0);
  });
  graph.set(node.getResult(0), std::move(result));
  return success();
}

void adapter::addReductionLowerings(LoweringTable &table) {
  table.add("ReduceSum", lowerReduce<Kind::Sum>);
  table.add("ReduceMean", lowerReduce<Kind::Mean>);
  table.add("ReduceMax", lowerReduce<Kind::Max>);
  table.add("ReduceMin", lowerReduce<Kind::Min>);
  table.add("ReduceProd", lowerReduce<Kind::Prod>);
  table.add("ReduceSumSquare", lowerReduce<Kind::SumSquare>);
  table.add("ReduceL1", lowerReduce<Kind::L1>);
  table.add("ReduceL2", lowerReduce<Kind::L2>);
  table.add("ReduceLogSum", lowerReduce<Kind::LogSum>);
  table.add("ArgMax", lowerArg<true>);
  table.add("ArgMin", lowerArg<false>);
  table.add("CumSum", lowerCumSum, 11);
}
