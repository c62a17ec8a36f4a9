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

// A copy of the cache into which each row of the batch has its positions of the update written, side by side from its
// index on. Whole positions are copied, unlike above.
static LogicalResult lowerTensorScatter(onnxir::NodeOp node, GraphLowering &graph) {
  B &b = graph.b;
  Lowered *cache = graph.input(node, 0), *update = graph.input(node, 1), *begins = graph.input(node, 2);
  FailureOr<int64_t> axis = normalizeAxis(node, intAttr(node, "axis", -2), cache->rank());
  if (failed(axis))
    return failure();
  if (*axis == 0 || update->rank() != cache->rank() || (begins && begins->rank() != 1))
    return node.emitError() << describe(node)
                            << ": needs an axis behind the batch, cache and update of one rank, "
                            << "and one index for each row of the batch";
  if (StringRef mode = stringAttr(node, "mode", "linear"); mode != "linear")
    return node.emitError() << describe(node) << ": mode '" << mode << "' is not supported in compiled code";
  std::string who = describe(node);
  SmallVector<OpFoldResult> shape = cache->shape;
  for (int64_t dim = 0; dim < cache->rank(); ++dim) {
    if (dim == *axis)
      continue;
    graph.requireEqual(shape[dim], update->shape[dim],
                       who + ": the cache has {0} along axis " + Twine(dim) + ", the update {1}");
    // What only one of them says statically holds of both.
    if (getConstantIntValue(update->shape[dim]))
      shape[dim] = update->shape[dim];
  }
  if (begins)
    graph.requireEqual(begins->shape[0], cache->shape[0], who + ": one index for each row of the batch");
  Value source = graph.tensor(*update), positions = begins ? graph.tensor(*begins) : Value();
  Value zero = graph.value(graph.constant(0)), one = graph.value(graph.constant(1));
  Value room = graph.value(cache->shape[*axis]), count = graph.value(update->shape[*axis]);
  Value before = graph.tensor(*cache);
  if (RankedTensorType type = graph.typeOf(shape, cache->elementType); type != before.getType())
    before = tensor::CastOp::create(b, type, before);
  auto rows = scf::ForOp::create(b, zero, graph.value(shape[0]), one, before);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(rows.getBody());
    Value row = rows.getInductionVar(), begin = zero;
    if (positions)
      begin = arith::IndexCastOp::create(b, b.getIndexType(),
                                         tensor::ExtractOp::create(b, positions, ValueRange{row}));
    Value last = arith::SubIOp::create(b, room, count);
    Value fits = arith::AndIOp::create(b, arith::CmpIOp::create(b, arith::CmpIPredicate::sle, begin, last),
                                       arith::CmpIOp::create(b, arith::CmpIPredicate::sge, begin, zero));
    kernel::RequireOp::create(b, fits,
                              b.getStringAttr(who + ": {0} positions from {1} on do not fit into {2}"),
                              ValueRange{count, begin, room});
    int64_t rank = cache->rank();
    SmallVector<OpFoldResult> from(rank, b.getIndexAttr(0)), to(rank, b.getIndexAttr(0)),
        sizes = update->shape, strides(rank, b.getIndexAttr(1));
    from[0] = to[0] = row;
    to[*axis] = begin;
    sizes[0] = b.getIndexAttr(1);
    sizes[*axis] = update->shape[*axis];
    Value part = tensor::ExtractSliceOp::create(b, source, from, sizes, strides);
    Value written = tensor::InsertSliceOp::create(b, part, rows.getRegionIterArgs()[0], to, sizes, strides);
    scf::YieldOp::create(b, written);
  }
  graph.set(node.getResult(0), graph.wrap(rows.getResult(0), shape));
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
  table.add("TensorScatter", lowerTensorScatter, 24);
}
