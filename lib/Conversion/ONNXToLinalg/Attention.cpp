// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter.attention as kernel.attention.
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Conversion/ONNXToLinalg/Experts.h"
#include "lib/Conversion/ONNXToLinalg/Provenance.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

// A value that the graph has once for all rows takes the place of the graph's own rows, if that is free.
static std::optional<Lowered> beside(GraphLowering &graph, Lowered value) {
  if (!value.isLifted)
    return value;
  SmallVector<OpFoldResult> own(ArrayRef(value.shape).drop_front());
  if (own.size() == 4) {
    if (!isConstantIntValue(own.front(), 1))
      return std::nullopt;
    own.erase(own.begin());
  }
  SmallVector<OpFoldResult> shape{value.shape.front()};
  shape.append(3 - own.size(), graph.constant(1));
  llvm::append_range(shape, own);
  Lowered placed = graph.reshape(value, shape);
  placed.rows = Rows::at(0);
  placed.isLifted = false;
  return placed;
}

// With dimensions of size 1 in front, as operands that broadcast have.
static Lowered ofRankFour(GraphLowering &graph, Lowered &value) {
  if (value.rank() == 4)
    return value;
  SmallVector<OpFoldResult> shape(4 - value.rank(), graph.constant(1));
  llvm::append_range(shape, value.shape);
  Lowered result = graph.reshape(value, shape);
  graph.follow(result, [&](RowFact fact) { return graph.reshapeRows(fact, value, shape); });
  return result;
}

// With the numbers of heads and the width that the op's type has; what updates of rows have made may not say them.
static Lowered withStaticSizes(GraphLowering &graph, Lowered &value, Value operand) {
  auto type = cast<RankedTensorType>(operand.getType());
  SmallVector<OpFoldResult> shape(value.shape);
  for (int64_t dim : {1, 3}) {
    OpFoldResult wanted = graph.constant(type.getDimSize(dim));
    if (GraphLowering::same(shape[dim], wanted))
      continue;
    graph.requireEqual(shape[dim], wanted, "attention: a size is another than the graph says");
    shape[dim] = wanted;
  }
  if (shape == value.shape)
    return value;
  Lowered result = graph.reshape(value, shape);
  result.setProvenance(value);
  return result;
}

// Written out for all rows, if it is one for all.
static Lowered forRows(GraphLowering &graph, Lowered &value, OpFoldResult rows) {
  if (GraphLowering::same(value.shape[0], rows) || !isConstantIntValue(value.shape[0], 1))
    return value;
  SmallVector<OpFoldResult> shape(value.shape);
  shape[0] = rows;
  Lowered result = graph.broadcastTo(value, shape);
  result.setProvenance(value);
  return result;
}

// A dimension of the mask is that of the scores, or 1.
static void requireBroadcast(GraphLowering &graph, OpFoldResult size, OpFoldResult of, const char *what) {
  if (isConstantIntValue(size, 1) || GraphLowering::same(size, of))
    return;
  B &b = graph.b;
  Value given = graph.value(size), wanted = graph.value(of);
  Value one = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, given, graph.value(graph.constant(1)));
  Value equal = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, given, wanted);
  graph.require(arith::OrIOp::create(b, one, equal),
                Twine("attention: the mask is of {0} ") + what + ", and there are {1}", {size, of});
}

// Rows and tokens as in the two products that attention is.
static void followProducts(GraphLowering &graph, Lowered &result, Lowered &q, Lowered &k, Lowered &v,
                           Lowered *mask) {
  graph.follow(result, [&](RowFact fact) {
    Rows scores = productRows(graph, fact, q.*fact, 4, k.*fact, 4, /*transposed=*/true);
    if (mask && fact == &Provenance::rows) {
      Lowered made;
      made.shape = {q.shape[0], q.shape[1], q.shape[2], k.shape[2]};
      made.*fact = scores;
      SmallVector<Lowered *> operands;
      for (Lowered *each : {&made, mask})
        if ((each->*fact).kind != Rows::None)
          operands.push_back(each);
      if (mask->rows.kind == Rows::Lost)
        return mask->rows;
      if (scores.kind != Rows::Lost && mask->rows.isTraced())
        scores = graph.mergeRows(fact, made.shape, operands);
    }
    return productRows(graph, fact, scores, 4, v.*fact, 4, /*transposed=*/false);
  });
}

LogicalResult adapter::lowerAttention(AttentionOp op, GraphLowering &graph) {
  SmallVector<Lowered, 4> operands;
  for (Value operand : op.getOperands()) {
    Lowered &value = graph.get(operand);
    for (int64_t bank : value.banks)
      graph.refuse(bank, "attention reads its parameter as it is; bind the adapter at build or switch");
    if (!value.elementType.isF32())
      return op.emitError() << "attention is compiled for f32 only, not for " << value.elementType;
    std::optional<Lowered> placed = beside(graph, value);
    if (!placed)
      return op.emitError()
             << "attention: a value is one for all rows, and an adapter changes it by row; bind "
                "the adapter at build, switch or call";
    if (operand != op.getMask())
      placed = withStaticSizes(graph, *placed, operand);
    operands.push_back(std::move(*placed));
  }
  Lowered &q = operands[0], &k = operands[1], &v = operands[2];
  OpFoldResult rows = q.shape[0];
  for (Lowered *each : {&k, &v})
    if (isConstantIntValue(rows, 1))
      rows = each->shape[0];
  for (Lowered *each : {&q, &k, &v})
    *each = forRows(graph, *each, rows);
  graph.requireEqual(k.shape[0], rows, "attention: the numbers of rows of keys and queries differ");
  graph.requireEqual(v.shape[0], rows, "attention: the numbers of rows of values and queries differ");
  graph.requireEqual(k.shape[2], v.shape[2], "attention: the numbers of keys and values differ");
  Lowered *mask = nullptr;
  if (op.getMask()) {
    operands[3] = ofRankFour(graph, operands[3]);
    mask = &operands[3];
    requireBroadcast(graph, mask->shape[0], rows, "rows");
    requireBroadcast(graph, mask->shape[1], q.shape[1], "heads");
    requireBroadcast(graph, mask->shape[2], q.shape[2], "queries");
    // What a session keeps is part of the mask's last dimension.
    if (!op.getState())
      graph.requireEqual(mask->shape[3], k.shape[2],
                         "attention: the numbers of keys and columns of the mask differ");
  }
  SmallVector<OpFoldResult> shape{rows, q.shape[1], q.shape[2], v.shape[3]};
  Value init = graph.empty(shape, q.elementType);
  Value made = kernel::AttentionOp::create(graph.b, init.getType(), graph.tensor(q), graph.tensor(k),
                                           graph.tensor(v), mask ? graph.tensor(*mask) : Value(), init,
                                           op.getScaleAttr(), op.getSoftcapAttr(), op.getCausalAttr(),
                                           op.getWindowAttr(), op.getZeroMaskedAttr(), op.getStateAttr())
                   .getResult(0);
  Lowered result = graph.wrap(made, shape);
  followProducts(graph, result, q, k, v, mask);
  graph.set(op.getResult(), std::move(result));
  return success();
}
