// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// TopK, which routers are exported as.
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Conversion/ONNXToLinalg/Provenance.h"
#include "lib/Conversion/ONNXToLinalg/RowFunctions.h"

using namespace mlir;
using namespace adapter;

std::pair<Lowered, Lowered> adapter::topK(GraphLowering &graph, Lowered &x, OpFoldResult count,
                                          bool smallest) {
  ImplicitLocOpBuilder &b = graph.b;
  SmallVector<OpFoldResult> shape{x.shape[0], count};
  Value values = graph.empty(shape, x.elementType), positions = graph.empty(shape, b.getI64Type());
  auto op = kernel::TopKOp::create(b, TypeRange{values.getType(), positions.getType()}, graph.tensor(x),
                                   values, positions, smallest, x.isUnsigned);
  std::pair<Lowered, Lowered> result{graph.wrap(op.getResult(0), shape), graph.wrap(op.getResult(1), shape)};
  result.first.isUnsigned = x.isUnsigned;
  for (Lowered *each : {&result.first, &result.second})
    graph.follow(*each, [&](RowFact fact) { return reducedRows(graph, x.*fact, {1}, /*keepDims=*/true); });
  return result;
}

// One integer that sizes are made of; null where it is not known before the call reads data.
static std::optional<OpFoldResult> asSize(GraphLowering &graph, Lowered &value) {
  graph.loadElements(value);
  std::optional<SmallVector<OpFoldResult>> elements = graph.elementsAsIndex(value);
  if (!elements || elements->size() != 1)
    return std::nullopt;
  return elements->front();
}

static LogicalResult lowerTopK(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered x = *graph.input(node, 0);
  FailureOr<int64_t> axis = normalizeAxis(node, intAttr(node, "axis", -1), x.rank());
  if (failed(axis))
    return failure();
  std::optional<OpFoldResult> count;
  if (Lowered *k = graph.input(node, 1))
    count = asSize(graph, *k);
  else
    count = graph.constant(intAttr(node, "k", 1));
  if (!count)
    return node.emitError() << describe(node) << ": k must be one integer";
  SmallVector<int64_t> permutation = llvm::to_vector(llvm::seq<int64_t>(0, x.rank()));
  std::swap(permutation[*axis], permutation.back());
  bool isLast = *axis == x.rank() - 1;
  if (!isLast)
    x = graph.transpose(x, permutation);
  OpFoldResult columns = x.shape.back();
  std::optional<int64_t> chosen = getConstantIntValue(*count), all = getConstantIntValue(columns);
  if (chosen && all && (*chosen < 0 || *chosen > *all))
    return node.emitError() << describe(node) << ": chooses " << *chosen << " of " << *all << " elements";
  if (!chosen || !all) {
    graph.requireSize(*count, describe(node) + ": k is negative");
    Value fits =
        arith::CmpIOp::create(graph.b, arith::CmpIPredicate::sle, graph.value(*count), graph.value(columns));
    graph.require(fits, describe(node) + ": chooses {0} elements of {1}", {*count, columns});
  }
  SmallVector<OpFoldResult> shape(x.shape);
  Lowered matrix = graph.reshape(x, {graph.product(ArrayRef(shape).drop_back()), columns});
  auto [values, positions] = topK(graph, matrix, *count, !intAttr(node, "largest", 1));
  shape.back() = *count;
  for (auto [result, lowered] : {std::pair(0u, &values), std::pair(1u, &positions)}) {
    if (result >= node.getNumResults() || isa<NoneType>(node.getResult(result).getType()))
      continue;
    Lowered shaped = graph.reshape(*lowered, shape);
    graph.set(node.getResult(result), isLast ? shaped : graph.transpose(shaped, permutation));
  }
  return success();
}

void adapter::addTopKLowerings(LoweringTable &table) { table.add("TopK", lowerTopK); }
