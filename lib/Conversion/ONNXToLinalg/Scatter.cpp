// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Operators that write at indices computed in the graph, and OneHot.
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Conversion/ONNXToLinalg/Indices.h"
#include "lib/Conversion/ONNXToLinalg/Scalars.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

Value adapter::checkedIndex(B &b, Value index, Value size, const std::string &who) {
  if (!index.getType().isIndex())
    index = arith::IndexCastOp::create(b, b.getIndexType(), index);
  Value zero = arith::ConstantIndexOp::create(b, 0);
  Value negative = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, index, zero);
  Value position = arith::SelectOp::create(b, negative, arith::AddIOp::create(b, index, size), index);
  // One unsigned comparison covers both ends.
  Value inside = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, position, size);
  kernel::RequireOp::create(b, inside, b.getStringAttr(who + ": index {0} is outside {1} elements"),
                            ValueRange{index, size});
  return position;
}

static bool isReduction(StringRef name) {
  return llvm::is_contained({"none", "add", "mul", "min", "max"}, name);
}

static Value combine(B &b, StringRef reduction, Value before, Value element, bool isUnsigned) {
  if (reduction == "add")
    return scalars::add(b, before, element);
  if (reduction == "mul")
    return scalars::mul(b, before, element);
  return reduction == "min" ? scalars::minimum(b, before, element, isUnsigned)
                            : scalars::maximum(b, before, element, isUnsigned);
}

// A copy of x into which each element of the updates is put where `placeOf` says for its indices, one after the
// other.
static Value scatter(GraphLowering &graph, Lowered &x, Lowered &updates, StringRef reduction,
                     llvm::function_ref<SmallVector<Value>(B &, ArrayRef<Value>)> placeOf) {
  Value source = graph.tensor(updates);
  Value zero = graph.value(graph.constant(0)), one = graph.value(graph.constant(1));
  SmallVector<Value> at;
  std::function<Value(B &, int64_t, Value)> nest = [&](B &b, int64_t dim, Value data) -> Value {
    if (dim == updates.rank()) {
      SmallVector<Value> to = placeOf(b, at);
      Value element = tensor::ExtractOp::create(b, source, at);
      if (reduction != "none")
        element = combine(b, reduction, tensor::ExtractOp::create(b, data, to), element, x.isUnsigned);
      return tensor::InsertOp::create(b, element, data, to);
    }
    auto loop = scf::ForOp::create(b, zero, graph.value(updates.shape[dim]), one, data);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    at.push_back(loop.getInductionVar());
    Value inner = nest(b, dim + 1, loop.getRegionIterArgs()[0]);
    at.pop_back();
    scf::YieldOp::create(b, inner);
    return loop.getResult(0);
  };
  return nest(graph.b, 0, graph.tensor(x));
}

// A copy of the data whose elements at indices are then overwritten, one after the other.
static LogicalResult lowerScatterND(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0), *indices = graph.input(node, 1), *updates = graph.input(node, 2);
  StringRef reduction = stringAttr(node, "reduction", "none");
  int64_t depth = indices->staticSize(indices->rank() - 1);
  if (ShapedType::isDynamic(depth) || !isReduction(reduction))
    return node.emitError() << describe(node) << ": needs static index depth and a known reduction";
  int64_t outer = indices->rank() - 1;
  if (depth > x->rank() || updates->rank() != outer + x->rank() - depth)
    return node.emitError() << describe(node) << ": indices or updates do not fit the input's rank";
  SmallVector<OpFoldResult> expected(indices->shape.begin(), indices->shape.end() - 1);
  expected.append(x->shape.begin() + depth, x->shape.end());
  for (auto [size, wanted] : llvm::zip(updates->shape, expected))
    graph.requireEqual(size, wanted, describe(node) + ": updates do not fit indices and input");
  Value positions = graph.tensor(*indices);
  SmallVector<Value> sizes;
  for (int64_t i = 0; i < depth; ++i)
    sizes.push_back(graph.value(x->shape[i]));
  std::string who = describe(node);
  Value scattered = scatter(graph, *x, *updates, reduction, [&](B &b, ArrayRef<Value> at) {
    SmallVector<Value> to;
    for (int64_t i = 0; i < depth; ++i) {
      SmallVector<Value> place(at.take_front(outer));
      place.push_back(arith::ConstantIndexOp::create(b, i));
      to.push_back(checkedIndex(b, tensor::ExtractOp::create(b, positions, place), sizes[i], who));
    }
    llvm::append_range(to, at.drop_front(outer));
    return to;
  });
  Lowered result = graph.wrap(scattered, x->shape);
  result.isUnsigned = x->isUnsigned;
  graph.set(node.getResult(0), std::move(result));
  return success();
}

// The same with one index for each element of the updates, along one axis.
static LogicalResult lowerScatterElements(onnxir::NodeOp node, GraphLowering &graph) {
  B &b = graph.b;
  Lowered *x = graph.input(node, 0), *indices = graph.input(node, 1), *updates = graph.input(node, 2);
  StringRef reduction = stringAttr(node, "reduction", "none");
  FailureOr<int64_t> axis = normalizeAxis(node, intAttr(node, "axis", 0), x->rank());
  if (failed(axis))
    return failure();
  if (!isReduction(reduction) || indices->rank() != x->rank() || updates->rank() != x->rank())
    return node.emitError() << describe(node) << ": needs a known reduction, and input, indices and updates "
                            << "of one rank";
  for (int64_t dim = 0; dim < x->rank(); ++dim) {
    graph.requireEqual(indices->shape[dim], updates->shape[dim],
                       describe(node) + ": the sizes of indices and updates differ");
    if (dim != *axis && !GraphLowering::same(x->shape[dim], indices->shape[dim]))
      graph.require(arith::CmpIOp::create(b, arith::CmpIPredicate::sle, graph.value(indices->shape[dim]),
                                          graph.value(x->shape[dim])),
                    describe(node) + ": the indices have {0} along axis " + Twine(dim) + ", the input {1}",
                    {indices->shape[dim], x->shape[dim]});
  }
  Value positions = graph.tensor(*indices);
  Value size = graph.value(x->shape[*axis]);
  std::string who = describe(node);
  Value scattered = scatter(graph, *x, *updates, reduction, [&](B &b, ArrayRef<Value> at) {
    SmallVector<Value> to(at);
    to[*axis] = checkedIndex(b, tensor::ExtractOp::create(b, positions, at), size, who);
    return to;
  });
  Lowered result = graph.wrap(scattered, x->shape);
  result.isUnsigned = x->isUnsigned;
  graph.set(node.getResult(0), std::move(result));
  return success();
}

// values[1] where the index is the position along a new axis, values[0] elsewhere.
static LogicalResult lowerOneHot(onnxir::NodeOp node, GraphLowering &graph) {
  B &b = graph.b;
  Lowered *indices = graph.input(node, 0), *depth = graph.input(node, 1), *values = graph.input(node, 2);
  graph.loadElements(*depth);
  std::optional<SmallVector<OpFoldResult>> size = graph.elementsAsIndex(*depth);
  FailureOr<int64_t> axis = normalizeAxis(node, intAttr(node, "axis", -1), indices->rank() + 1);
  if (failed(axis))
    return failure();
  if (!size || size->size() != 1 || !indices->elementType.isInteger())
    return node.emitError() << describe(node)
                            << ": depth must be one integer known from sizes, indices integers";
  graph.requireSize(size->front(), describe(node) + ": the depth is negative");
  SmallVector<OpFoldResult> shape(indices->shape);
  shape.insert(shape.begin() + *axis, size->front());
  Value positions = graph.tensor(*indices), both = graph.tensor(*values), count = graph.value(size->front());
  Value off = tensor::ExtractOp::create(b, both, ValueRange{graph.value(graph.constant(0))});
  Value on = tensor::ExtractOp::create(b, both, ValueRange{graph.value(graph.constant(1))});
  Lowered result = graph.generate(shape, values->elementType, [&](B &b, ArrayRef<Value> at) -> Value {
    SmallVector<Value> from(at);
    from.erase(from.begin() + *axis);
    Value index =
        arith::IndexCastOp::create(b, b.getIndexType(), tensor::ExtractOp::create(b, positions, from));
    Value negative =
        arith::CmpIOp::create(b, arith::CmpIPredicate::slt, index, arith::ConstantIndexOp::create(b, 0));
    index = arith::SelectOp::create(b, negative, arith::AddIOp::create(b, index, count), index);
    Value hit = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, index, at[*axis]);
    return arith::SelectOp::create(b, hit, on, off);
  });
  result.isUnsigned = values->isUnsigned;
  graph.set(node.getResult(0), std::move(result));
  return success();
}

void adapter::addScatterLowerings(LoweringTable &table) {
  table.add("ScatterND", lowerScatterND, 11);
  table.add("ScatterElements", lowerScatterElements, 11);
  table.add("OneHot", lowerOneHot, 9);
}
