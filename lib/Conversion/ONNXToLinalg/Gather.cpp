// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Operators that read or write at indices computed in the graph. Every index is checked: one out of range
// fails the call, it never reads beyond a tensor.
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Conversion/ONNXToLinalg/Lowering.h"
#include "lib/Conversion/ONNXToLinalg/Scalars.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

// An index of the graph as a position in [0, size): negative ones count from the end.
static Value checkedIndex(B &b, Value index, Value size, const std::string &who) {
  if (!index.getType().isIndex())
    index = arith::IndexCastOp::create(b, b.getIndexType(), index);
  Value zero = arith::ConstantIndexOp::create(b, 0);
  Value negative = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, index, zero);
  Value position = arith::SelectOp::create(b, negative, arith::AddIOp::create(b, index, size), index);
  // One unsigned comparison covers both ends.
  Value inside = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, position, size);
  cf::AssertOp::create(b, inside, b.getStringAttr(who + ": an index is out of range"));
  return position;
}

// Each row's own update of the table, applied to what was read from it.
static Lowered updateEmbedding(onnxir::NodeOp node, GraphLowering &graph, Lowered &indices, Lowered result,
                               int64_t bank, int64_t axis, Value size) {
  B &b = graph.b;
  if (axis != 0 || result.rank() != indices.rank() + 1) {
    graph.refuse(bank, "only rows of a table of two dimensions can differ by call");
    return result;
  }
  if (!graph.requireRows(indices, bank))
    return result;
  OpFoldResult positions = graph.product(indices.shape), width = result.shape.back();
  SmallVector<OpFoldResult> shape(result.shape);
  std::string who = describe(node);
  Lowered checked = graph.elementwise({&indices}, b.getI64Type(), [&](B &b, ArrayRef<Value> s) -> Value {
    return arith::IndexCastOp::create(b, b.getI64Type(), checkedIndex(b, s[0], size, who));
  });
  Lowered ids = graph.reshape(checked, {positions});
  Lowered flat = graph.reshape(result, {positions, width});
  Value updated = kernel::RowEmbeddingOp::create(b, graph.tensor(flat).getType(), graph.tensor(ids),
                                                 graph.tensor(flat), bank, /*accumulate=*/true)
                      .getResults()
                      .front();
  Lowered whole = graph.wrap(updated, {positions, width});
  whole.rows = result.rows;
  return graph.reshape(whole, shape);
}

static LogicalResult lowerGather(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0), *indices = graph.input(node, 1);
  FailureOr<int64_t> axis = normalizeAxis(node, intAttr(node, "axis", 0), x->rank());
  if (failed(axis))
    return failure();
  std::optional<SmallVector<int64_t>> constants = graph.constantIntegers(*indices);
  if (x->elements && x->rank() == 1 && constants) {
    SmallVector<Value> elements;
    int64_t size = x->elements->size();
    for (int64_t index : *constants) {
      if (index < -size || index >= size)
        return node.emitError() << describe(node) << ": index " << index << " is outside " << size
                                << " elements";
      elements.push_back((*x->elements)[index < 0 ? index + size : index]);
    }
    SmallVector<int64_t> shape;
    for (int64_t dim = 0; dim < indices->rank(); ++dim)
      shape.push_back(indices->staticSize(dim));
    graph.set(node.getResult(0), graph.wrapElements(elements, shape, x->elementType));
    return success();
  }
  SmallVector<OpFoldResult> shape(x->shape.begin(), x->shape.begin() + *axis);
  llvm::append_range(shape, indices->shape);
  shape.append(x->shape.begin() + *axis + 1, x->shape.end());
  Value source = graph.tensor(*x), positions = graph.tensor(*indices), size = graph.value(x->shape[*axis]);
  int64_t indexRank = indices->rank();
  std::string who = describe(node);
  Lowered result = graph.generate(shape, x->elementType, [&](B &b, ArrayRef<Value> at) -> Value {
    Value index = tensor::ExtractOp::create(b, positions, at.slice(*axis, indexRank));
    SmallVector<Value> from(at.take_front(*axis));
    from.push_back(checkedIndex(b, index, size, who));
    llvm::append_range(from, at.drop_front(*axis + indexRank));
    return tensor::ExtractOp::create(b, source, from);
  });
  result.isUnsigned = x->isUnsigned;
  if (x->rows == Rows::None && *axis == 0)
    result.rows = indices->rows;
  else if (x->rows != Rows::None)
    result.rows = x->rows == Rows::Outermost && *axis > 0 && indices->rows == Rows::None ? Rows::Outermost
                                                                                         : Rows::Elsewhere;
  for (int64_t bank : x->banks)
    result = updateEmbedding(node, graph, *indices, result, bank, *axis, size);
  graph.set(node.getResult(0), std::move(result));
  return success();
}

static LogicalResult lowerGatherElements(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0), *indices = graph.input(node, 1);
  FailureOr<int64_t> axis = normalizeAxis(node, intAttr(node, "axis", 0), x->rank());
  if (failed(axis))
    return failure();
  if (indices->rank() != x->rank())
    return node.emitError() << describe(node) << ": input and indices differ in rank";
  for (int64_t dim = 0; dim < x->rank(); ++dim)
    if (dim != *axis && !GraphLowering::same(x->shape[dim], indices->shape[dim])) {
      Value fits = arith::CmpIOp::create(graph.b, arith::CmpIPredicate::sle, graph.value(indices->shape[dim]),
                                         graph.value(x->shape[dim]));
      graph.require(fits, describe(node) + ": the indices exceed the input");
    }
  Value source = graph.tensor(*x), positions = graph.tensor(*indices), size = graph.value(x->shape[*axis]);
  std::string who = describe(node);
  Lowered result = graph.generate(indices->shape, x->elementType, [&](B &b, ArrayRef<Value> at) -> Value {
    SmallVector<Value> from(at);
    from[*axis] = checkedIndex(b, tensor::ExtractOp::create(b, positions, at), size, who);
    return tensor::ExtractOp::create(b, source, from);
  });
  result.isUnsigned = x->isUnsigned;
  graph.set(node.getResult(0), std::move(result));
  return success();
}

static LogicalResult lowerGatherND(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0), *indices = graph.input(node, 1);
  int64_t batch = intAttr(node, "batch_dims", 0), depth = indices->staticSize(indices->rank() - 1);
  if (ShapedType::isDynamic(depth))
    return node.emitError() << describe(node) << ": the last size of the indices must be static";
  if (batch < 0 || batch >= indices->rank() || batch + depth > x->rank())
    return node.emitError() << describe(node) << ": batch_dims and indices do not fit the input's rank";
  for (int64_t dim = 0; dim < batch; ++dim)
    graph.requireEqual(x->shape[dim], indices->shape[dim], describe(node) + ": batch sizes differ");
  SmallVector<OpFoldResult> shape(indices->shape.begin(), indices->shape.end() - 1);
  shape.append(x->shape.begin() + batch + depth, x->shape.end());
  Value source = graph.tensor(*x), positions = graph.tensor(*indices);
  SmallVector<Value> sizes;
  for (int64_t i = 0; i < depth; ++i)
    sizes.push_back(graph.value(x->shape[batch + i]));
  int64_t outer = indices->rank() - 1;
  std::string who = describe(node);
  Lowered result = graph.generate(shape, x->elementType, [&](B &b, ArrayRef<Value> at) -> Value {
    SmallVector<Value> from(at.take_front(batch));
    for (int64_t i = 0; i < depth; ++i) {
      SmallVector<Value> place(at.take_front(outer));
      place.push_back(arith::ConstantIndexOp::create(b, i));
      from.push_back(checkedIndex(b, tensor::ExtractOp::create(b, positions, place), sizes[i], who));
    }
    llvm::append_range(from, at.drop_front(outer));
    return tensor::ExtractOp::create(b, source, from);
  });
  result.isUnsigned = x->isUnsigned;
  graph.set(node.getResult(0), std::move(result));
  return success();
}

// A copy of the data whose elements at indices are then overwritten, one after the other.
static LogicalResult lowerScatterND(onnxir::NodeOp node, GraphLowering &graph) {
  B &b = graph.b;
  Lowered *x = graph.input(node, 0), *indices = graph.input(node, 1), *updates = graph.input(node, 2);
  StringRef reduction = stringAttr(node, "reduction", "none");
  int64_t depth = indices->staticSize(indices->rank() - 1);
  if (ShapedType::isDynamic(depth) || (reduction != "none" && reduction != "add"))
    return node.emitError() << describe(node) << ": needs static index depth and reduction none or add";
  int64_t outer = indices->rank() - 1;
  if (depth > x->rank() || updates->rank() != outer + x->rank() - depth)
    return node.emitError() << describe(node) << ": indices or updates do not fit the input's rank";
  SmallVector<OpFoldResult> expected(indices->shape.begin(), indices->shape.end() - 1);
  expected.append(x->shape.begin() + depth, x->shape.end());
  for (auto [size, wanted] : llvm::zip(updates->shape, expected))
    graph.requireEqual(size, wanted, describe(node) + ": updates do not fit indices and input");
  Value positions = graph.tensor(*indices), source = graph.tensor(*updates);
  Value zero = graph.value(graph.constant(0)), one = graph.value(graph.constant(1));
  SmallVector<Value> sizes;
  for (int64_t i = 0; i < depth; ++i)
    sizes.push_back(graph.value(x->shape[i]));
  std::string who = describe(node);
  SmallVector<Value> at;
  std::function<Value(B &, int64_t, Value)> nest = [&](B &b, int64_t dim, Value data) -> Value {
    if (dim == updates->rank()) {
      SmallVector<Value> to;
      for (int64_t i = 0; i < depth; ++i) {
        SmallVector<Value> place(ArrayRef(at).take_front(outer));
        place.push_back(arith::ConstantIndexOp::create(b, i));
        to.push_back(checkedIndex(b, tensor::ExtractOp::create(b, positions, place), sizes[i], who));
      }
      llvm::append_range(to, ArrayRef(at).drop_front(outer));
      Value element = tensor::ExtractOp::create(b, source, at);
      if (reduction == "add")
        element = scalars::add(b, tensor::ExtractOp::create(b, data, to), element);
      return tensor::InsertOp::create(b, element, data, to);
    }
    auto loop = scf::ForOp::create(b, zero, graph.value(updates->shape[dim]), one, data);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    at.push_back(loop.getInductionVar());
    Value inner = nest(b, dim + 1, loop.getRegionIterArgs()[0]);
    at.pop_back();
    scf::YieldOp::create(b, inner);
    return loop.getResult(0);
  };
  Lowered result = graph.wrap(nest(b, 0, graph.tensor(*x)), x->shape);
  result.isUnsigned = x->isUnsigned;
  graph.set(node.getResult(0), std::move(result));
  return success();
}

static LogicalResult lowerTrilu(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0), *k = graph.input(node, 1);
  bool upper = intAttr(node, "upper", 1);
  int64_t offset = 0;
  if (k) {
    std::optional<SmallVector<int64_t>> constant = graph.constantIntegers(*k);
    if (!constant)
      return node.emitError() << describe(node) << ": k must be constant";
    offset = constant->front();
  }
  Value source = graph.tensor(*x);
  Type type = x->elementType;
  graph.set(node.getResult(0), graph.generate(x->shape, type, [&](B &b, ArrayRef<Value> at) -> Value {
    Value diagonal = arith::AddIOp::create(b, at[at.size() - 2], arith::ConstantIndexOp::create(b, offset));
    Value keep = arith::CmpIOp::create(b, upper ? arith::CmpIPredicate::sge : arith::CmpIPredicate::sle,
                                       at.back(), diagonal);
    return arith::SelectOp::create(b, keep, tensor::ExtractOp::create(b, source, at),
                                   scalars::constant(b, type, 0));
  }));
  return success();
}

void adapter::addGatherLowerings(LoweringTable &table) {
  table.add("Gather", lowerGather);
  table.add("GatherElements", lowerGatherElements, 11);
  table.add("GatherND", lowerGatherND, 11);
  table.add("ScatterND", lowerScatterND, 11);
  table.add("Trilu", lowerTrilu, 14);
}
