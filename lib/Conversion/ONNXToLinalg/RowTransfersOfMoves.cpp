// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rows and tokens through operators that move elements, in order or by indices.
#include "lib/Conversion/ONNXToLinalg/RowTransfers.h"

using namespace mlir;
using namespace adapter;
using transfers::Flow;

//===----------------------------------------------------------------------===//
// Elements that are moved
//===----------------------------------------------------------------------===//

Rows transfers::reshape(const Flow &flow) {
  return flow.graph.reshapeRows(flow.fact, *flow.in(0), flow.out.shape);
}

Rows transfers::transpose(const Flow &flow) {
  Rows rows = flow.of(0);
  std::optional<SmallVector<int64_t>> order = intsAttr(flow.node, "perm");
  rows.axis = order ? llvm::find(*order, rows.axis) - order->begin() : flow.in(0)->rank() - 1 - rows.axis;
  return rows;
}

Rows transfers::concat(const Flow &flow) {
  Rows rows = flow.merged();
  return rows.isTraced() && rows.axis == flow.axis(0, flow.out.rank()) ? flow.lost(worksAlong) : rows;
}

// What leaves the axis of the rows as it is.
Rows transfers::unlessResized(const Flow &flow) {
  Rows rows = flow.of(0);
  return GraphLowering::same(flow.size(0, rows.axis), flow.out.shape[rows.axis]) ? rows
                                                                                 : flow.lost(worksAlong);
}

Rows transfers::split(const Flow &flow) {
  Rows rows = flow.of(0);
  return rows.axis == flow.axis(0, flow.in(0)->rank()) ? flow.lost(worksAlong) : rows;
}

// Of equal size is also what is turned round.
Rows transfers::slice(const Flow &flow) {
  std::optional<SmallVector<int64_t>> axes = flow.integers("axes", 3), steps = flow.integers("steps", 4);
  int64_t rank = flow.in(0)->rank(), count = axes ? axes->size() : rank;
  for (int64_t i = 0; steps && i < std::min<int64_t>(count, steps->size()); ++i) {
    int64_t axis = axes ? (*axes)[i] : i;
    if ((axis < 0 ? axis + rank : axis) == flow.of(0).axis && (*steps)[i] != 1)
      return flow.lost(worksAlong);
  }
  return unlessResized(flow);
}

// Of equal size is also what is moved on.
Rows transfers::pad(const Flow &flow) {
  Rows rows = flow.of(0);
  int64_t rank = flow.in(0)->rank();
  std::optional<SmallVector<int64_t>> axes =
      flow.in(3) ? flow.graph.constantIntegers(*flow.in(3)) : std::nullopt;
  SmallVector<OpFoldResult> pads;
  if (std::optional<SmallVector<int64_t>> given = intsAttr(flow.node, "pads")) {
    for (int64_t pad : *given)
      pads.push_back(flow.graph.constant(pad));
  } else if (flow.in(1)) {
    pads = flow.graph.elementsAsIndex(*flow.in(1)).value_or(SmallVector<OpFoldResult>());
  }
  for (size_t i = 0; i < pads.size(); ++i) {
    int64_t place = i % (pads.size() / 2), axis = axes ? (*axes)[place] : place;
    if ((axis < 0 ? axis + rank : axis) == rows.axis && !isConstantIntValue(pads[i], 0))
      return flow.lost(worksAlong);
  }
  return unlessResized(flow);
}

// A tensor that is repeated along the rows' axis has them all again in each repeat.
Rows transfers::tile(const Flow &flow) {
  Rows rows = flow.of(0);
  std::optional<SmallVector<OpFoldResult>> counts = flow.graph.elementsAsIndex(*flow.in(1));
  if (!counts)
    return unlessResized(flow);
  OpFoldResult count = (*counts)[rows.axis], outer = rows.outer ? rows.outer : flow.graph.constant(1);
  return isConstantIntValue(count, 1) ? rows : Rows::at(rows.axis, flow.graph.product({outer, count}));
}

Rows transfers::oneHot(const Flow &flow) {
  Rows rows = flow.of(0);
  rows.axis += rows.axis >= flow.axis(-1, flow.out.rank());
  return rows;
}

//===----------------------------------------------------------------------===//
// Elements at indices
//===----------------------------------------------------------------------===//

// Where positions of data whose axis has all rows are read by indices of which `numbers` tells the rows: those rows,
// if each reads itself.
static std::optional<Rows> readInOrder(const Flow &flow, const Provenance *numbers, int64_t axis) {
  if (flow.isTokens() || !numbers || !numbers->numbers.isTraced())
    return std::nullopt;
  std::optional<OpFoldResult> inner = flow.graph.exactQuotient({flow.size(0, axis)}, {flow.graph.rowCount});
  OpFoldResult stride = numbers->stride ? numbers->stride : flow.graph.constant(1);
  bool isSame = inner && GraphLowering::same(*inner, stride);
  return isSame ? std::optional(numbers->numbers) : std::nullopt;
}

static bool isNoneOr(const Rows &rows, const Rows &place) { return !rows.isTraced() || rows == place; }

// What the indices' last dimension holds at `place`.
static const Provenance *indicesAt(const Flow &flow, int64_t place) {
  Lowered *indices = flow.in(1);
  if (indices->staticSize(indices->rank() - 1) == 1)
    return indices;
  auto joined = flow.node.getInputs()[1].getDefiningOp<onnxir::NodeOp>();
  if (!joined || joined.getOpType() != "Concat" || !joined.getDomain().empty())
    return nullptr;
  int64_t axis = intAttr(joined, "axis", 0), at = 0;
  if (axis != -1 && axis != indices->rank() - 1)
    return nullptr;
  for (unsigned i = 0; i < joined.getInputs().size(); ++i) {
    Lowered *part = flow.graph.input(joined, i);
    int64_t size = part->staticSize(part->rank() - 1);
    if (at == place && size == 1)
      return part;
    if (ShapedType::isDynamic(size))
      break;
    at += size;
  }
  return nullptr;
}

Rows transfers::gather(const Flow &flow) {
  Rows x = flow.of(0), indices = flow.of(1);
  int64_t axis = flow.axis(0, flow.in(0)->rank());
  if (!x.isTraced()) {
    indices.axis += axis;
    return indices;
  }
  if (x.axis == axis) {
    std::optional<Rows> rows = readInOrder(flow, flow.in(1), axis);
    if (!rows || x.outer || !isNoneOr(indices, *rows))
      return flow.lost(picksAmong);
    rows->axis += axis;
    return *rows;
  }
  if (indices.isTraced() && !flow.isTokens())
    return flow.lost(bringsTogether);
  x.axis += x.axis > axis ? flow.in(1)->rank() - 1 : 0;
  return x;
}

Rows transfers::gatherElements(const Flow &flow) {
  Rows x = flow.of(0), indices = flow.of(1);
  if (!x.isTraced())
    return indices;
  if (x.axis == flow.axis(0, flow.in(0)->rank()))
    return flow.isTokens() && indices.isTraced() ? indices : flow.lost(picksAmong);
  // The indices may stop before the data does.
  if (!GraphLowering::same(flow.size(0, x.axis), flow.size(1, x.axis)))
    return flow.lost(picksAmong);
  return flow.merged();
}

Rows transfers::gatherND(const Flow &flow) {
  Rows x = flow.of(0), indices = flow.of(1);
  int64_t batch = intAttr(flow.node, "batch_dims", 0), outer = flow.in(1)->rank() - 1,
          depth = flow.in(1)->staticSize(outer);
  if (indices.isTraced() && indices.axis == outer)
    return flow.lost(picksAmong);
  if (!x.isTraced())
    return indices;
  if (x.axis >= batch && x.axis < batch + depth) {
    if (flow.isTokens() && indices.isTraced())
      return indices;
    std::optional<Rows> rows = readInOrder(flow, indicesAt(flow, x.axis - batch), x.axis);
    return rows && !x.outer && isNoneOr(indices, *rows) ? *rows : flow.lost(picksAmong);
  }
  // Dimensions of the indices come first, then those of the data that no index picks from.
  if (x.axis >= batch)
    x.axis += outer - batch - depth;
  return !indices.isTraced() || indices == x || flow.isTokens() ? x : flow.lost(bringsTogether);
}

Rows transfers::scatterND(const Flow &flow) {
  Rows x = flow.of(0), indices = flow.of(1), updates = flow.of(2);
  if (flow.isTokens())
    return x.isTraced() ? x : flow.lost(picksAmong);
  int64_t outer = flow.in(1)->rank() - 1, depth = flow.in(1)->staticSize(outer);
  for (int64_t axis = 0; axis < depth; ++axis) {
    std::optional<Rows> rows = readInOrder(flow, indicesAt(flow, axis), axis);
    if (rows && isNoneOr(x, Rows::at(axis)) && isNoneOr(indices, *rows) && isNoneOr(updates, *rows))
      return Rows::at(axis);
  }
  // Otherwise rows lie behind what the indices pick from, in the data and in what is put there.
  if (indices.isTraced() || (x.isTraced() && x.axis < depth) || (updates.isTraced() && updates.axis < outer))
    return flow.lost(picksAmong);
  if (updates.isTraced())
    updates.axis += depth - outer;
  if (x.isTraced() && updates.isTraced() && !(x == updates))
    return flow.lost(bringsTogether);
  return x.isTraced() ? x : updates;
}

Rows transfers::scatterElements(const Flow &flow) {
  Rows x = flow.of(0);
  if (flow.isTokens())
    return x.isTraced() ? x : flow.lost(picksAmong);
  for (unsigned i : {0u, 1u, 2u})
    if (Rows rows = flow.of(i); rows.isTraced())
      if (rows.axis == flow.axis(0, flow.out.rank()) ||
          !GraphLowering::same(flow.size(i, rows.axis), flow.out.shape[rows.axis]))
        return flow.lost(picksAmong);
  return flow.merged();
}

// Each row of the batch is written from its own update, at its own index.
Rows transfers::tensorScatter(const Flow &flow) {
  if (flow.isTokens())
    return flow.lost(picksAmong);
  for (unsigned i : {0u, 1u, 2u})
    if (flow.in(i) && !isNoneOr(flow.of(i), Rows::at(0)))
      return flow.lost(picksAmong);
  return Rows::at(0);
}
