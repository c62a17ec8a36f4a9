// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rows and tokens of values that are broadcast, reshaped, reduced and multiplied.
//
// This is a forward data-flow analysis that runs along with the lowering rather than in MLIR's framework: what it
// needs of a value, sizes that are known to be equal or to divide each other, is what the lowering makes, and a
// graph is one block in which every value is seen once, so that there is no fixed point to look for.
#include "lib/Conversion/ONNXToLinalg/Provenance.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace adapter;

Rows GraphLowering::mergeRows(RowFact fact, ArrayRef<OpFoldResult> shape, ArrayRef<Lowered *> inputs) {
  Rows result, lost;
  for (Lowered *input : inputs) {
    Rows own = input->*fact;
    if (own.kind == Rows::Lost && lost.kind != Rows::Lost)
      lost = own;
    if (!own.isTraced())
      continue;
    // A size that is broadcast is 1, so there is one row only, wherever it is taken to be in front.
    OpFoldResult size = input->shape[own.axis];
    own.axis += static_cast<int64_t>(shape.size()) - input->rank();
    bool broadcast = !same(size, shape[own.axis]);
    if ((broadcast && own.outer) || (result.isTraced() && !(result == own)))
      return this->lost(bringsTogether);
    result = own;
  }
  bool settles = result.isTraced() && fact == &Provenance::tokens;
  return lost.kind == Rows::Lost && !settles ? lost : result;
}

// Whether x is y, or y where it is not broadcast.
static bool areOneOrSame(OpFoldResult x, OpFoldResult y) {
  if (GraphLowering::same(x, y))
    return true;
  auto value = dyn_cast<Value>(x);
  auto choice = value ? value.getDefiningOp<arith::SelectOp>() : arith::SelectOp();
  return choice && (areOneOrSame(choice.getTrueValue(), y) || areOneOrSame(choice.getFalseValue(), y));
}

Rows GraphLowering::reshapeRows(RowFact fact, const Lowered &source, ArrayRef<OpFoldResult> shape) {
  bool isTokens = fact == &Provenance::tokens;
  OpFoldResult count = isTokens ? tokenCount : rowCount;
  Rows rows = source.*fact;
  if (!rows.isTraced() || ArrayRef(source.shape) == shape || !count)
    return rows;
  SmallVector<OpFoldResult> before(ArrayRef(source.shape).take_front(rows.axis));
  if (rows.outer)
    before.push_back(rows.outer);
  int64_t rank = shape.size();
  for (int64_t axis = 0; axis < rank; ++axis) {
    std::optional<OpFoldResult> outer = exactQuotient(before, shape.take_front(axis));
    if (!outer)
      break;
    if (exactQuotient({shape[axis]}, {*outer, count}))
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
    bool mayBeOne = isTokens && axis == rows.axis &&
                    (same(shape[axis], count) || areOneOrSame(source.shape[axis], shape[axis]));
    std::optional<OpFoldResult> more;
    if (isKept || (mayBeOne && rank == source.rank()))
      more = exactQuotient(shape.drop_front(axis + 1), behind);
    bool sameBehind = more && isConstantIntValue(*more, 1);
    if (sameBehind || (mayBeOne && llvm::all_of_zip(ArrayRef(source.shape).take_front(axis),
                                                    shape.take_front(axis), areOneOrSame)))
      return Rows::at(axis, rows.outer);
  }
  return lost(reshapesThem);
}

Rows adapter::reducedRows(GraphLowering &graph, Rows rows, ArrayRef<int64_t> axes, bool keepDims) {
  if (!rows.isTraced())
    return rows;
  if (llvm::is_contained(axes, rows.axis))
    return graph.lost(worksAlong);
  if (!keepDims)
    rows.axis -= llvm::count_if(axes, [&](int64_t axis) { return axis < rows.axis; });
  return rows;
}

Rows adapter::productRows(GraphLowering &graph, RowFact fact, Rows x, int64_t xRank, Rows y, int64_t yRank,
                          bool transposed) {
  int64_t rank = std::max(xRank, yRank);
  auto placed = [&](Rows rows, int64_t own, int64_t summed, int64_t kept, int64_t result) {
    if (!rows.isTraced())
      return rows;
    if (rows.axis == summed)
      return graph.lost(worksAlong);
    rows.axis = rows.axis == kept ? result : rows.axis + rank - own;
    return rows;
  };
  x = placed(x, xRank, xRank - 1, xRank - 2, rank - 2);
  y = placed(y, yRank, yRank - (transposed ? 1 : 2), yRank - (transposed ? 2 : 1), rank - 1);
  // Tokens meet in products, of which the left operand's are the ones that go on: attention's queries.
  if (fact == &Provenance::tokens && (x.isTraced() || y.isTraced()))
    return x.isTraced() ? x : y;
  for (const Rows &each : {x, y})
    if (each.kind == Rows::Lost)
      return each;
  if (x.isTraced() && y.isTraced() && !(x == y))
    return graph.lost(bringsTogether);
  return x.isTraced() ? x : y;
}
