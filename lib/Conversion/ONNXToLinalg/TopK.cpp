// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// TopK and OneHot: what routers are exported as.
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Conversion/ONNXToLinalg/Activations.h"
#include "lib/Conversion/ONNXToLinalg/Scalars.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

std::pair<Lowered, Lowered> adapter::topK(GraphLowering &graph, Lowered &x, OpFoldResult count,
                                          bool smallest) {
  B &b = graph.b;
  SmallVector<OpFoldResult> shape{x.shape[0], count};
  Value values = graph.empty(shape, x.elementType), positions = graph.empty(shape, b.getI64Type());
  auto op = kernel::TopKOp::create(b, TypeRange{values.getType(), positions.getType()}, graph.tensor(x),
                                   values, positions, smallest, x.isUnsigned);
  std::pair<Lowered, Lowered> result{graph.wrap(op.getResult(0), shape), graph.wrap(op.getResult(1), shape)};
  result.first.isUnsigned = x.isUnsigned;
  result.first.rows = result.second.rows = x.rows;
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
    graph.require(fits, describe(node) + ": chooses more elements than there are");
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

static LogicalResult lowerOneHot(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *indices = graph.input(node, 0), *depth = graph.input(node, 1), *values = graph.input(node, 2);
  FailureOr<int64_t> axis = normalizeAxis(node, intAttr(node, "axis", -1), indices->rank() + 1);
  if (failed(axis))
    return failure();
  std::optional<OpFoldResult> size = asSize(graph, *depth);
  if (!size || !indices->elementType.isInteger())
    return node.emitError() << describe(node) << ": needs indices and a depth that are integers";
  graph.requireSize(*size, describe(node) + ": the depth is negative");
  // Where all is known, the result is known element by element: a list of sizes, say.
  std::optional<SmallVector<int64_t>> constants = graph.constantIntegers(*indices);
  std::optional<int64_t> known = getConstantIntValue(*size);
  if (constants && known && values->elements && indices->rank() == 1) {
    SmallVector<Value> elements(constants->size() * *known, (*values->elements)[0]);
    int64_t count = constants->size(), stride = *axis == 0 ? count : 1;
    for (auto [i, index] : llvm::enumerate(*constants)) {
      int64_t at = index < 0 ? index + *known : index;
      if (at >= 0 && at < *known)
        elements[at * stride + i * (*axis == 0 ? 1 : *known)] = (*values->elements)[1];
    }
    SmallVector<int64_t> shape{*axis == 0 ? *known : count, *axis == 0 ? count : *known};
    graph.set(node.getResult(0), graph.wrapElements(elements, shape, values->elementType));
    return success();
  }
  SmallVector<OpFoldResult> shape(indices->shape);
  shape.insert(shape.begin() + *axis, *size);
  Value positions = graph.tensor(*indices), choices = graph.tensor(*values), limit = graph.value(*size);
  bool isUnsigned = indices->isUnsigned;
  Lowered result = graph.generate(shape, values->elementType, [&](B &b, ArrayRef<Value> at) -> Value {
    SmallVector<Value> from(at);
    from.erase(from.begin() + *axis);
    Value index = tensor::ExtractOp::create(b, positions, from);
    index = isUnsigned ? Value(arith::IndexCastUIOp::create(b, b.getIndexType(), index))
                       : Value(arith::IndexCastOp::create(b, b.getIndexType(), index));
    Value zero = arith::ConstantIndexOp::create(b, 0), one = arith::ConstantIndexOp::create(b, 1);
    Value isNegative = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, index, zero);
    Value place = arith::SelectOp::create(b, isNegative, arith::AddIOp::create(b, index, limit), index);
    Value isHot = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, place, at[*axis]);
    return tensor::ExtractOp::create(b, choices, ValueRange{arith::SelectOp::create(b, isHot, one, zero)});
  });
  result.isUnsigned = values->isUnsigned;
  graph.set(node.getResult(0), std::move(result));
  return success();
}

void adapter::addTopKLowerings(LoweringTable &table) {
  table.add("TopK", lowerTopK);
  table.add("OneHot", lowerOneHot, 9);
}
