// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Operators that read at indices computed in the graph. Every index is checked: one out of range
// fails the call, it never reads beyond a tensor.
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Conversion/ONNXToLinalg/Indices.h"
#include "lib/Conversion/ONNXToLinalg/Scalars.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

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
  SmallVector<OpFoldResult> shape(result.shape);
  std::string who = describe(node);
  Lowered checked = graph.elementwise({&indices}, b.getI64Type(), [&](B &b, ArrayRef<Value> s) -> Value {
    return arith::IndexCastOp::create(b, b.getI64Type(), checkedIndex(b, s[0], size, who));
  });
  OpFoldResult positions = graph.product(indices.shape);
  // What acts on all rows alike takes positions as they lie.
  Provenance before = result;
  Lowered place = indices;
  if (!graph.banks[bank].perRow)
    place.rows = Rows();
  checked.rows = result.rows = place.rows;
  Lowered sorted = graph.rowsFirst(checked, 0);
  Lowered ids = graph.reshape(sorted, {positions});
  Lowered flat = graph.rowsFirst(result, 1);
  Value updated = kernel::RowEmbeddingOp::create(b, graph.tensor(flat).getType(), graph.tensor(ids),
                                                 graph.tensor(flat), bank, /*accumulate=*/true)
                      .getResults()
                      .front();
  Lowered sortedResult = graph.wrap(updated, flat.shape);
  Lowered back = graph.rowsBack(sortedResult, shape, place, 1);
  back.setProvenance(before);
  return back;
}

// Element [i, j] of a matrix of integers.
static Value dequantised(B &b, kernel::DequantizeOp matrix, Value i, Value j) {
  if (matrix.getTransposed())
    std::swap(i, j);
  bool isHalf = matrix.bits() == 4;
  auto index = [&](int64_t value) -> Value { return arith::ConstantIndexOp::create(b, value); };
  Value byte = isHalf ? Value(arith::DivUIOp::create(b, j, index(2))) : j;
  Value code = arith::ExtUIOp::create(b, b.getI32Type(),
                                      tensor::ExtractOp::create(b, matrix.getCodes(), ValueRange{i, byte}));
  if (isHalf) {
    Value shift = arith::MulIOp::create(b, arith::RemUIOp::create(b, j, index(2)), index(4));
    code = arith::ShRUIOp::create(b, code, arith::IndexCastOp::create(b, b.getI32Type(), shift));
    code = arith::AndIOp::create(b, code, arith::ConstantOp::create(b, b.getI32IntegerAttr(15)));
  }
  SmallVector<Value> place{i, arith::DivUIOp::create(b, j, index(matrix.getBlock()))};
  Value zero =
      matrix.getZeros()
          ? Value(tensor::ExtractOp::create(b, matrix.getZeros(), place))
          : Value(scalars::constant(b, b.getF32Type(), static_cast<double>(matrix.getFormat().offset())));
  Value number = arith::SubFOp::create(b, arith::SIToFPOp::create(b, b.getF32Type(), code), zero);
  return arith::MulFOp::create(b, number, tensor::ExtractOp::create(b, matrix.getScales(), place));
}

// The integers behind a table, if rows may be read from these: where an adapter acts, the table is one of f32.
static kernel::DequantizeOp integersOf(GraphLowering &graph, const Lowered &table) {
  auto matrix = table.tensor ? table.tensor.getDefiningOp<kernel::DequantizeOp>() : kernel::DequantizeOp();
  auto codes = matrix ? matrix.getCodes().getDefiningOp<kernel::ParameterOp>() : kernel::ParameterOp();
  bool isPlain = codes && !cast<ParameterRowAttr>(graph.parameters[codes.getIndex()]).getSite();
  return isPlain ? matrix : kernel::DequantizeOp();
}

static LogicalResult lowerGather(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0), *indices = graph.input(node, 1);
  FailureOr<int64_t> axis = normalizeAxis(node, intAttr(node, "axis", 0), x->rank());
  if (failed(axis))
    return failure();
  std::optional<SmallVector<int64_t>> constants = graph.constantIntegers(*indices);
  SmallVector<OpFoldResult> shape(x->shape.begin(), x->shape.begin() + *axis);
  llvm::append_range(shape, indices->shape);
  shape.append(x->shape.begin() + *axis + 1, x->shape.end());
  if (x->elements && x->hasStaticShape() && constants && indices->hasStaticShape()) {
    int64_t size = x->staticSize(*axis);
    for (int64_t index : *constants)
      if (index < -size || index >= size)
        return node.emitError() << describe(node) << ": index " << index << " is outside " << size
                                << " elements";
    auto known = graph.pickElements(*x, shape, [&](ArrayRef<int64_t> at, SmallVectorImpl<int64_t> &from) {
      int64_t flat = 0;
      for (int64_t dim = 0; dim < indices->rank(); ++dim)
        flat = flat * indices->staticSize(dim) + at[*axis + dim];
      int64_t index = (*constants)[flat];
      std::copy(at.begin(), at.begin() + *axis, from.begin());
      from[*axis] = index < 0 ? index + size : index;
      std::copy(at.begin() + *axis + indices->rank(), at.end(), from.begin() + *axis + 1);
    });
    if (known) {
      graph.set(node.getResult(0), std::move(*known));
      return success();
    }
  }
  Value source = graph.tensor(*x), positions = graph.tensor(*indices), size = graph.value(x->shape[*axis]);
  kernel::DequantizeOp integers = integersOf(graph, *x);
  int64_t indexRank = indices->rank();
  std::string who = describe(node);
  Lowered result = graph.generate(shape, x->elementType, [&](B &b, ArrayRef<Value> at) -> Value {
    Value index = tensor::ExtractOp::create(b, positions, at.slice(*axis, indexRank));
    SmallVector<Value> from(at.take_front(*axis));
    from.push_back(checkedIndex(b, index, size, who));
    llvm::append_range(from, at.drop_front(*axis + indexRank));
    if (integers)
      return dequantised(b, integers, from[0], from[1]);
    return tensor::ExtractOp::create(b, source, from);
  });
  result.isUnsigned = x->isUnsigned;
  Lowered ids = *indices;
  bool lifts = *axis == 0 && x->rank() == 2 && graph.startsRows(ids, x->banks);
  if (lifts) {
    ids = graph.lift(ids);
    result = graph.lift(result);
  }
  for (int64_t bank : x->banks)
    result = updateEmbedding(node, graph, ids, result, bank, *axis, size);
  result.isLifted = lifts;
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
      graph.require(fits,
                    describe(node) + ": the indices have {0} along axis " + Twine(dim) + ", the input {1}",
                    {indices->shape[dim], x->shape[dim]});
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
  table.add("Trilu", lowerTrilu, 14);
}
