// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// GraphLowering: where values carry the rows of a call, and updates that differ by row. The kernels want each
// row's positions together; where the graph has them otherwise, they are brought there and back.
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Conversion/ONNXToLinalg/Provenance.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

void GraphLowering::refuse(int64_t bank, const std::string &why) {
  std::string &place = banks[bank].spare ? banks[bank].refusal : fault;
  if (place.empty())
    place = why;
}

void GraphLowering::refuseTokens(int64_t bank, const std::string &why) {
  if (banks[bank].tokenRefusal.empty())
    banks[bank].tokenRefusal = why + "; bind the adapter at row";
}

// Where rows were lost, for messages; empty where that is not known.
static std::string describeLoss(const Rows &rows) {
  if (rows.kind != Rows::Lost)
    return "";
  auto node = dyn_cast_or_null<onnxir::NodeOp>(rows.where);
  return ": " + (node ? describe(node) : "a module or mixture before it") + " " + rows.why;
}

// The positions that a bank's adapters act on are those of all tokens.
static void requireTokens(GraphLowering &graph, const Lowered &x, int64_t bank, int64_t last,
                          const std::string &who) {
  if (!x.tokens.isTraced() || x.tokens.axis >= x.rank() - last)
    return graph.refuseTokens(bank, "what it acts on cannot be told apart by token" + describeLoss(x.tokens));
  ArrayRef<OpFoldResult> positions = ArrayRef(x.shape).drop_back(last);
  std::optional<OpFoldResult> most = graph.exactQuotient(positions, {graph.rowCount, graph.tokenCount});
  if (most && isConstantIntValue(*most, 1))
    return;
  OpFoldResult have = graph.product(positions), want = graph.product({graph.rowCount, graph.tokenCount});
  std::optional<int64_t> knownHave = getConstantIntValue(have), knownWant = getConstantIntValue(want);
  if (knownHave && knownWant && *knownHave != *knownWant)
    return graph.refuseTokens(bank, "it has " + std::to_string(*knownHave) + " positions for " +
                                        std::to_string(*knownWant) + " tokens that carry adapters");
  if (knownHave && knownWant)
    return;
  Value equal =
      arith::CmpIOp::create(graph.b, arith::CmpIPredicate::eq, graph.value(have), graph.value(want));
  if (Operation *check =
          graph.require(equal, who + "has {0} positions for {1} tokens that carry adapters", {have, want}))
    graph.banks[bank].tokenChecks.push_back(check);
}

bool GraphLowering::requireRows(const Lowered &x, int64_t bank, int64_t last) {
  if (!banks[bank].perRow)
    return true;
  if (x.rows.isTraced() && x.rows.axis < x.rank() - last) {
    OpFoldResult size = x.shape[x.rows.axis];
    std::string who = (node ? describe(node) : "a module with adapters") + ": ";
    SmallVector<OpFoldResult> divisor{rowCount};
    if (x.rows.outer)
      divisor.push_back(x.rows.outer);
    if (banks[bank].byToken)
      requireTokens(*this, x, bank, last, who);
    if (!exactQuotient({size}, divisor)) {
      Value rest = arith::RemUIOp::create(b, value(size), value(max(product(divisor), constant(1))));
      Value whole = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, rest, value(constant(0)));
      require(whole, who + "the {0} rows of the call do not divide its {1} positions",
              {product(divisor), size});
    }
    return true;
  }
  if (x.rows.kind == Rows::None)
    refuse(
        bank,
        "its input does not depend on the rows of the call, so an adapter of one row cannot act here; bind "
        "the adapter at build, switch or call");
  else
    refuse(bank, "the rows of the call cannot be traced to its input" +
                     (x.rows.isTraced() ? ": it works along their axis" : describeLoss(x.rows)) +
                     "; bind the adapter at build, switch or call, or name the axis that carries the rows "
                     "(--row-axis INPUT=N)");
  return false;
}

//===----------------------------------------------------------------------===//
// Each row's positions together
//===----------------------------------------------------------------------===//

// The sizes [before, rows, behind, last] of a value with traced rows.
static SmallVector<OpFoldResult> splitAtRows(GraphLowering &graph, ArrayRef<OpFoldResult> shape,
                                             const Rows &rows, int64_t last) {
  SmallVector<OpFoldResult> before(shape.take_front(rows.axis));
  SmallVector<OpFoldResult> part{graph.rowCount};
  if (rows.outer) {
    before.push_back(rows.outer);
    part.push_back(rows.outer);
  }
  OpFoldResult inner = graph.quotient({shape[rows.axis]}, part);
  SmallVector<OpFoldResult> behind(shape.drop_back(last).drop_front(rows.axis + 1));
  behind.push_back(inner);
  return {graph.product(before), graph.rowCount, graph.product(behind), graph.product(shape.take_back(last))};
}

Lowered GraphLowering::rowsFirst(Lowered &x, int64_t last) {
  ArrayRef<OpFoldResult> shape = x.shape;
  SmallVector<OpFoldResult> flat{product(shape.drop_back(last)), product(shape.take_back(last))};
  if (!x.rows.isTraced())
    return reshape(x, flat);
  SmallVector<OpFoldResult> split = splitAtRows(*this, shape, x.rows, last);
  if (isConstantIntValue(split[0], 1))
    return reshape(x, flat);
  Lowered parts = reshape(x, split);
  Lowered moved = transpose(parts, {1, 0, 2, 3});
  return reshape(moved, flat);
}

Lowered GraphLowering::rowsBack(Lowered &flat, ArrayRef<OpFoldResult> shape, const Lowered &like,
                                int64_t last) {
  SmallVector<OpFoldResult> split;
  if (like.rows.isTraced())
    split = splitAtRows(*this, shape, like.rows, last);
  Lowered result;
  if (split.empty() || isConstantIntValue(split[0], 1)) {
    result = reshape(flat, shape);
  } else {
    std::swap(split[0], split[1]);
    Lowered parts = reshape(flat, split);
    Lowered moved = transpose(parts, {1, 0, 2, 3});
    result = reshape(moved, shape);
  }
  result.setProvenance(like);
  return result;
}

//===----------------------------------------------------------------------===//
// Updates
//===----------------------------------------------------------------------===//

Lowered GraphLowering::callVector(Lowered &vector, int64_t bank) {
  OpFoldResult width = product(vector.shape);
  SmallVector<OpFoldResult> shape(vector.shape);
  Lowered flat = reshape(vector, {width});
  Value init = empty({constant(1), width}, vector.elementType);
  Value table =
      kernel::RowVectorsOp::create(b, init.getType(), tensor(flat), init, bank).getResults().front();
  Lowered result = wrap(table, {constant(1), width});
  return reshape(result, shape);
}

Lowered GraphLowering::rowVectors(Lowered &vector, ArrayRef<Lowered *> inputs) {
  Lowered *data = nullptr;
  int64_t rank = vector.rank();
  for (Lowered *input : inputs)
    if (input != &vector && input->rows.isTraced() && input->rank() > rank &&
        (!data || input->rank() > data->rank()))
      data = input;
  Lowered plain = vector;
  plain.banks.clear();
  if (banks[vector.banks.front()].byToken)
    refuseTokens(vector.banks.front(),
                 "a vector, like a bias or a norm's weight, can differ by row, not by token");
  // All that is combined with the vector has its rows in the same place.
  Lowered none;
  for (Lowered *input : inputs) {
    if (input->rows.kind == Rows::Lost)
      none.rows = input->rows;
    if (!input->rows.isTraced() || none.rows.kind == Rows::Lost)
      continue;
    if (!data)
      none.rows = lost(worksAlong);
    else if (input->rows.outer != data->rows.outer ||
             input->rank() - input->rows.axis != data->rank() - data->rows.axis)
      none.rows = lost(bringsTogether);
  }
  if (none.rows.kind == Rows::Lost)
    data = nullptr;
  if (!requireRows(data ? *data : none, vector.banks.front(), data ? rank : 0) || !data)
    return plain;
  // One vector for each row, then for each position of the dimension that has them.
  OpFoldResult width = product(vector.shape), positions = data->shape[data->rows.axis];
  Lowered flat = reshape(plain, {width});
  Value init = empty({rowCount, width}, vector.elementType);
  Value table = kernel::RowVectorsOp::create(b, init.getType(), tensor(flat), init, vector.banks.front())
                    .getResults()
                    .front();
  Lowered result = wrap(table, {rowCount, width});
  if (!same(positions, rowCount)) {
    OpFoldResult outer = data->rows.outer ? data->rows.outer : constant(1);
    Value rows = value(rowCount), inner = value(max(quotient({positions}, {outer, rowCount}), constant(1)));
    result = generate({positions, width}, vector.elementType, [&](B &b, ArrayRef<Value> at) -> Value {
      Value row = arith::RemUIOp::create(b, arith::DivUIOp::create(b, at[0], inner), rows);
      return tensor::ExtractOp::create(b, table, ValueRange{row, at[1]});
    });
  }
  SmallVector<OpFoldResult> shape(data->rank() - rank, constant(1));
  shape[data->rows.axis] = positions;
  llvm::append_range(shape, vector.shape);
  result = reshape(result, shape);
  result.rows = data->rows;
  return result;
}

Lowered GraphLowering::multiplyByRow(Lowered &x, Value packed, Lowered *bias, OpFoldResult columns,
                                     int64_t bank) {
  SmallVector<OpFoldResult> whole(ArrayRef(x.shape).drop_back());
  whole.push_back(columns);
  // What acts on all rows alike takes positions as they lie.
  Lowered from = x;
  if (!banks[bank].perRow)
    from.rows = Rows();
  Lowered input = rowsFirst(from, 1);
  SmallVector<OpFoldResult> shape{input.shape[0], columns};
  Value init = empty(shape, x.elementType);
  auto op = kernel::RowLinearOp::create(b, init.getType(), tensor(input), packed,
                                        bias ? tensor(*bias) : Value(), init, bank, /*accumulate=*/false);
  Lowered flat = wrap(op.getResults().front(), shape);
  Lowered result = rowsBack(flat, whole, from, 1);
  follow(result,
         [&](RowFact fact) { return reducedRows(*this, x.*fact, {x.rank() - 1}, /*keepDims=*/true); });
  return result;
}

Lowered GraphLowering::addRowUpdates(Lowered &x, Value packed, Lowered result, ArrayRef<int64_t> numbers) {
  for (int64_t bank : numbers) {
    if (!requireRows(x, bank, 1))
      continue;
    Provenance before = result;
    SmallVector<OpFoldResult> whole(result.shape);
    Lowered from = x, to = result;
    if (!banks[bank].perRow)
      from.rows = Rows();
    to.rows = from.rows;
    Lowered input = rowsFirst(from, 1), output = rowsFirst(to, 1);
    auto op = kernel::RowLinearOp::create(b, tensor(output).getType(), tensor(input), packed, Value(),
                                          tensor(output), bank, /*accumulate=*/true);
    Lowered flat = wrap(op.getResults().front(), output.shape);
    result = rowsBack(flat, whole, from, 1);
    result.setProvenance(before);
  }
  return result;
}

Lowered GraphLowering::actByRow(Lowered &base, Lowered &x, Lowered *residual, int64_t bank,
                                ArrayAttr bottlenecks) {
  for (Lowered *value : {&x, residual})
    if (value && !requireRows(*value, bank, 1))
      return base;
  SmallVector<Lowered *> combined{&base, &x};
  if (residual)
    combined.push_back(residual);
  Lowered together = base;
  follow(together, [&](RowFact fact) { return mergeRows(fact, base.shape, combined); });
  if (!requireRows(together, bank, 1))
    return base;
  bool perRow = banks[bank].perRow;
  auto flat = [&](Lowered value) {
    value.rows = perRow ? x.rows : Rows();
    return rowsFirst(value, 1);
  };
  Lowered input = flat(x), output = flat(base), added = residual ? flat(*residual) : Lowered();
  auto op =
      kernel::RowBottleneckOp::create(b, tensor(output).getType(), tensor(input),
                                      residual ? tensor(added) : Value(), tensor(output), bank, bottlenecks,
                                      /*accumulate=*/true);
  Lowered like = x;
  if (!perRow)
    like.rows = Rows();
  Lowered made = wrap(op.getResults().front(), output.shape);
  Lowered result = rowsBack(made, base.shape, like, 1);
  result.setProvenance(together);
  return result;
}
