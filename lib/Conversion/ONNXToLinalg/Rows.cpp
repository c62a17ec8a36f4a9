// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// GraphLowering: where values carry the rows of a call, and updates that differ by row. The kernels want each
// row's positions together; where the graph has them otherwise, they are brought there and back.
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Conversion/ONNXToLinalg/Lowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

Rows GraphLowering::mergeRows(ArrayRef<OpFoldResult> shape, ArrayRef<Lowered *> inputs) {
  Rows result;
  bool isLost = false;
  for (Lowered *input : inputs) {
    isLost |= input->rows.kind == Rows::Elsewhere;
    if (!input->rows.isTraced())
      continue;
    Rows own = input->rows;
    own.axis += static_cast<int64_t>(shape.size()) - input->rank();
    // A size that is broadcast is 1, so there is one row only, wherever it is taken to be in front.
    bool broadcast = !same(input->shape[input->rows.axis], shape[own.axis]);
    if ((broadcast && own.outer) || (result.isTraced() && !(result == own)))
      return Rows::elsewhere();
    result = own;
  }
  return isLost && !result.isTraced() ? Rows::elsewhere() : result;
}

// Whether x is y, or y where it is not broadcast.
static bool areOneOrSame(OpFoldResult x, OpFoldResult y) {
  if (GraphLowering::same(x, y))
    return true;
  auto value = dyn_cast<Value>(x);
  auto choice = value ? value.getDefiningOp<arith::SelectOp>() : arith::SelectOp();
  return choice && (areOneOrSame(choice.getTrueValue(), y) || areOneOrSame(choice.getFalseValue(), y));
}

Rows GraphLowering::reshapeRows(const Lowered &source, ArrayRef<OpFoldResult> shape) {
  Rows rows = source.rows;
  if (!rows.isTraced() || ArrayRef(source.shape) == shape || !rowCount)
    return rows;
  SmallVector<OpFoldResult> before(ArrayRef(source.shape).take_front(rows.axis));
  if (rows.outer)
    before.push_back(rows.outer);
  int64_t rank = shape.size();
  for (int64_t axis = 0; axis < rank; ++axis) {
    std::optional<OpFoldResult> outer = exactQuotient(before, shape.take_front(axis));
    if (!outer)
      break;
    if (exactQuotient({shape[axis]}, {*outer, rowCount}))
      return Rows::at(axis, *outer);
    // A size that is computed in ways that hide its factors: rows in front stay in front, whole.
    bool hidden = !getConstantIntValue(shape[axis]);
    if (isConstantIntValue(*outer, 1) && !isConstantIntValue(shape[axis], 1) && hidden)
      return Rows::at(axis);
  }
  // What lies in front may be hidden, but the rows' dimension and all behind it are as before.
  ArrayRef<OpFoldResult> behind = ArrayRef(source.shape).drop_front(rows.axis + 1);
  for (int64_t axis = 0; axis < rank; ++axis) {
    bool isKept = same(shape[axis], source.shape[rows.axis]);
    // A size of attention's scores may be that of a mask, broadcast: it is that of the tokens, where it is not 1.
    bool isTokens = tracesTokens && axis == rows.axis &&
                    (same(shape[axis], rowCount) || areOneOrSame(source.shape[axis], shape[axis]));
    std::optional<OpFoldResult> more;
    if (isKept || (isTokens && rank == source.rank()))
      more = exactQuotient(shape.drop_front(axis + 1), behind);
    bool sameBehind = more && isConstantIntValue(*more, 1);
    if (sameBehind || (isTokens && llvm::all_of_zip(ArrayRef(source.shape).take_front(axis),
                                                    shape.take_front(axis), areOneOrSame)))
      return Rows::at(axis, rows.outer);
  }
  return Rows::elsewhere();
}

void GraphLowering::refuse(int64_t bank, const std::string &why) {
  std::string &place = banks[bank].spare ? banks[bank].refusal : fault;
  if (place.empty())
    place = why;
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
    if (banks[bank].byToken) {
      std::optional<OpFoldResult> most =
          exactQuotient(ArrayRef(x.shape).drop_back(last), {rowCount, tokenCount});
      if (!most || !isConstantIntValue(*most, 1))
        requireEqual(product(ArrayRef(x.shape).drop_back(last)), product({rowCount, tokenCount}),
                     who + "has {0} positions for {1} tokens that carry adapters");
    }
    if (!exactQuotient({size}, divisor)) {
      Value rest = arith::RemUIOp::create(b, value(size), value(max(product(divisor), constant(1))));
      Value whole = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, rest, value(constant(0)));
      require(whole, who + "the {0} rows of the call do not divide its {1} positions",
              {product(divisor), size});
    }
    return true;
  }
  if (tracesTokens) {
    refuse(bank, "what it acts on cannot be told apart by token; bind the adapter at row");
    return false;
  }
  refuse(bank, x.rows.kind == Rows::None
                   ? "its input does not depend on the rows of the call, so an adapter of one row cannot act "
                     "here; bind the adapter at build, switch or call"
                   : "the rows of the call cannot be traced to its input; bind the adapter at build, switch "
                     "or call, or name the axis that carries the rows (--row-axis INPUT=N)");
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
  result.rows = like.rows;
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
  if (tracesTokens) {
    if (banks[vector.banks.front()].perRow)
      refuse(vector.banks.front(),
             "a vector, like a bias or a norm's weight, can differ by row, not by token; bind "
             "the adapter at row");
    return plain;
  }
  Lowered none;
  for (Lowered *input : inputs)
    if (input->rows.kind != Rows::None)
      none.rows = Rows::elsewhere();
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
  result.rows = x.rows.isTraced() && x.rows.axis == x.rank() - 1 ? Rows::elsewhere() : x.rows;
  return result;
}

Lowered GraphLowering::addRowUpdates(Lowered &x, Value packed, Lowered result, ArrayRef<int64_t> numbers) {
  for (int64_t bank : numbers) {
    if (!requireRows(x, bank, 1))
      continue;
    Rows rows = result.rows;
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
    result.rows = rows;
  }
  return result;
}

Lowered GraphLowering::actByRow(Lowered &base, Lowered &x, Lowered *residual, int64_t bank,
                                ArrayAttr bottlenecks) {
  for (Lowered *value : {&x, residual})
    if (value && !requireRows(*value, bank, 1))
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
  result.rows = x.rows;
  return result;
}
