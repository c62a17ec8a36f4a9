// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Operators that move elements: Transpose, Concat, Split, Slice, Pad, Tile.
#include "lib/Conversion/ONNXToLinalg/Lowering.h"
#include "lib/Conversion/ONNXToLinalg/Scalars.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

static LogicalResult lowerTranspose(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0);
  SmallVector<int64_t> permutation;
  if (std::optional<SmallVector<int64_t>> given = intsAttr(node, "perm"))
    permutation = *given;
  else
    for (int64_t dim = x->rank() - 1; dim >= 0; --dim)
      permutation.push_back(dim);
  if (static_cast<int64_t>(permutation.size()) != x->rank() || !mlir::isPermutationVector(permutation))
    return node.emitError() << describe(node) << ": perm is no permutation of " << x->rank() << " dimensions";
  graph.set(node.getResult(0), graph.transpose(*x, permutation));
  return success();
}

// Elements shape[begin + i * step] along each axis, by index.
static Lowered sliceBy(GraphLowering &graph, Lowered &x, ArrayRef<OpFoldResult> begins,
                       ArrayRef<int64_t> steps, ArrayRef<OpFoldResult> sizes) {
  if (llvm::all_of(begins, [](OpFoldResult begin) { return getConstantIntValue(begin).has_value(); }))
    if (auto known = graph.pickElements(x, sizes, [&](ArrayRef<int64_t> at, SmallVectorImpl<int64_t> &from) {
          for (size_t dim = 0; dim < at.size(); ++dim)
            from[dim] = *getConstantIntValue(begins[dim]) + at[dim] * steps[dim];
        }))
      return *known;
  Value source = graph.tensor(x);
  SmallVector<Value> offsets;
  for (OpFoldResult begin : begins)
    offsets.push_back(isConstantIntValue(begin, 0) ? Value() : graph.value(begin));
  Lowered result = graph.generate(sizes, x.elementType, [&](B &b, ArrayRef<Value> at) -> Value {
    SmallVector<Value> indices;
    for (auto [dim, index] : llvm::enumerate(at)) {
      Value position = index;
      if (steps[dim] != 1)
        position = arith::MulIOp::create(b, position, arith::ConstantIndexOp::create(b, steps[dim]));
      if (offsets[dim])
        position = arith::AddIOp::create(b, position, offsets[dim]);
      indices.push_back(position);
    }
    return tensor::ExtractOp::create(b, source, indices);
  });
  result.isUnsigned = x.isUnsigned;
  return result;
}

static LogicalResult lowerConcat(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *first = graph.input(node, 0);
  FailureOr<int64_t> axis = normalizeAxis(node, intAttr(node, "axis", 0), first->rank());
  if (failed(axis))
    return failure();
  SmallVector<Lowered *> inputs;
  bool known = first->rank() > 0;
  for (unsigned i = 0; i < node.getInputs().size(); ++i) {
    inputs.push_back(graph.input(node, i));
    if (inputs.back()->rank() != first->rank())
      return node.emitError() << describe(node) << ": the inputs differ in rank";
    known &= inputs.back()->elements.has_value() && inputs.back()->hasStaticShape();
  }
  SmallVector<OpFoldResult> shape = first->shape;
  for (auto [number, input] : llvm::enumerate(ArrayRef(inputs).drop_front())) {
    shape[*axis] = graph.add(shape[*axis], input->shape[*axis]);
    for (int64_t dim = 0; dim < first->rank(); ++dim) {
      if (dim == *axis)
        continue;
      graph.requireEqual(shape[dim], input->shape[dim],
                         describe(node) + ": " + describeInput(node, 0) + " has {0} along axis " +
                             std::to_string(dim) + ", " + describeInput(node, number + 1) + " {1}");
      if (getConstantIntValue(input->shape[dim]) && !getConstantIntValue(shape[dim]))
        shape[dim] = input->shape[dim];
    }
  }
  if (known) {
    // Elements in front of the axis, then input by input.
    SmallVector<Value> elements;
    int64_t outer = 1;
    for (int64_t dim = 0; dim < *axis; ++dim)
      outer *= first->staticSize(dim);
    for (int64_t i = 0; i < outer; ++i)
      for (Lowered *input : inputs) {
        size_t each = input->elements->size() / std::max<int64_t>(outer, 1);
        llvm::append_range(elements, ArrayRef(*input->elements).slice(i * each, each));
      }
    if (elements.size() <= 64) {
      SmallVector<int64_t> sizes;
      for (OpFoldResult size : shape)
        sizes.push_back(*getConstantIntValue(size));
      Lowered result = graph.wrapElements(elements, sizes, first->elementType);
      result.isUnsigned = first->isUnsigned;
      graph.set(node.getResult(0), std::move(result));
      return success();
    }
  }
  // Each input is written to its place in the result.
  Value result = graph.empty(shape, first->elementType);
  SmallVector<OpFoldResult> offsets(first->rank(), graph.constant(0)),
      strides(first->rank(), graph.constant(1));
  for (Lowered *input : inputs) {
    if (isConstantIntValue(input->shape[*axis], 0))
      continue;
    SmallVector<OpFoldResult> sizes = shape;
    sizes[*axis] = input->shape[*axis];
    Value part = graph.tensor(*input);
    // Another input may have said what a size is.
    if (RankedTensorType type = graph.typeOf(sizes, first->elementType); type != part.getType())
      part = tensor::CastOp::create(graph.b, type, part);
    result = tensor::InsertSliceOp::create(graph.b, part, result, offsets, sizes, strides);
    offsets[*axis] = graph.add(offsets[*axis], input->shape[*axis]);
  }
  Lowered wrapped = graph.wrap(result, shape);
  wrapped.isUnsigned = first->isUnsigned;
  graph.set(node.getResult(0), std::move(wrapped));
  return success();
}

static LogicalResult lowerSplit(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0);
  FailureOr<int64_t> axis = normalizeAxis(node, intAttr(node, "axis", 0), x->rank());
  if (failed(axis))
    return failure();
  int64_t count = node.getNumResults();
  SmallVector<OpFoldResult> parts;
  bool given = true;
  if (std::optional<SmallVector<int64_t>> constants = intsAttr(node, "split")) {
    for (int64_t size : *constants)
      parts.push_back(graph.constant(size));
  } else if (Lowered *split = graph.input(node, 1)) {
    graph.loadElements(*split);
    std::optional<SmallVector<OpFoldResult>> sizes = graph.elementsAsIndex(*split);
    if (!sizes)
      return node.emitError() << describe(node) << ": the sizes of the parts depend on data";
    parts = *sizes;
  } else {
    given = false;
    OpFoldResult whole = x->shape[*axis];
    OpFoldResult part = graph.divide(graph.add(whole, graph.constant(count - 1)), graph.constant(count));
    // Where the size divides, all parts are one value.
    bool divides = x->staticSize(*axis) >= 0 && x->staticSize(*axis) % count == 0;
    OpFoldResult rest = whole;
    for (int64_t i = 0; i < count; ++i) {
      parts.push_back(divides ? part : graph.min(part, rest));
      rest = graph.sub(rest, parts.back());
    }
  }
  if (static_cast<int64_t>(parts.size()) != count)
    return node.emitError() << describe(node) << ": has " << count << " results for " << parts.size()
                            << " parts";
  if (given) {
    OpFoldResult sum = graph.constant(0);
    for (OpFoldResult part : parts) {
      graph.requireSize(part, describe(node) + ": the size of a part is negative");
      sum = graph.add(sum, part);
    }
    graph.requireEqual(sum, x->shape[*axis], describe(node) + ": the parts do not add up to the whole");
  }
  SmallVector<OpFoldResult> begins(x->rank(), graph.constant(0)), sizes = x->shape;
  SmallVector<int64_t> steps(x->rank(), 1);
  for (int64_t i = 0; i < count; ++i) {
    sizes[*axis] = parts[i];
    if (!isa<NoneType>(node.getResult(i).getType()))
      graph.set(node.getResult(i), sliceBy(graph, *x, begins, steps, sizes));
    begins[*axis] = graph.add(begins[*axis], parts[i]);
  }
  return success();
}

namespace {
struct SliceArguments {
  SmallVector<OpFoldResult> starts, ends;
  SmallVector<int64_t> axes, steps;
};
} // namespace

static FailureOr<SliceArguments> readSlice(onnxir::NodeOp node, GraphLowering &graph, int64_t rank) {
  SliceArguments result;
  if (std::optional<SmallVector<int64_t>> starts = intsAttr(node, "starts")) { // before opset 10
    for (int64_t start : *starts)
      result.starts.push_back(graph.constant(start));
    for (int64_t end : intsAttr(node, "ends").value_or(SmallVector<int64_t>()))
      result.ends.push_back(graph.constant(end));
    if (std::optional<SmallVector<int64_t>> axes = intsAttr(node, "axes"))
      result.axes = *axes;
  } else {
    for (unsigned i : {1u, 2u}) {
      Lowered *input = graph.input(node, i);
      if (!input)
        return node.emitError() << describe(node) << ": starts and ends are missing";
      graph.loadElements(*input);
      std::optional<SmallVector<OpFoldResult>> elements = graph.elementsAsIndex(*input);
      if (!elements)
        return node.emitError() << describe(node) << ": starts and ends depend on data";
      (i == 1 ? result.starts : result.ends) = *elements;
    }
    for (unsigned i : {3u, 4u})
      if (Lowered *input = graph.input(node, i)) {
        std::optional<SmallVector<int64_t>> constants = graph.constantIntegers(*input);
        if (!constants)
          return node.emitError() << describe(node) << ": axes and steps must be constant";
        (i == 3 ? result.axes : result.steps) = *constants;
      }
  }
  if (result.axes.empty())
    for (size_t i = 0; i < result.starts.size(); ++i)
      result.axes.push_back(i);
  if (result.steps.empty())
    result.steps.assign(result.starts.size(), 1);
  if (result.ends.size() != result.starts.size() || result.axes.size() != result.starts.size() ||
      result.steps.size() != result.starts.size())
    return node.emitError() << describe(node) << ": starts, ends, axes and steps differ in length";
  return result;
}

// numpy's clamping of a bound: negative ones count from the end.
static OpFoldResult clampBound(GraphLowering &graph, OpFoldResult bound, OpFoldResult size, int64_t low,
                               OpFoldResult high) {
  if (std::optional<int64_t> known = getConstantIntValue(bound)) {
    if (*known < 0)
      bound = *known <= -(int64_t(1) << 31) ? graph.constant(low) : graph.add(size, bound);
    else if (*known >= (int64_t(1) << 31) - 1)
      return high;
    else if (*known == 0)
      return graph.constant(std::max<int64_t>(0, low));
  } else {
    Value value = graph.value(bound);
    Value negative =
        arith::CmpIOp::create(graph.b, arith::CmpIPredicate::slt, value, graph.value(graph.constant(0)));
    // A bound that is a size of an input is never negative.
    bool isSize = !value.getDefiningOp() || isa<tensor::DimOp>(value.getDefiningOp());
    if (!isSize)
      bound = Value(arith::SelectOp::create(graph.b, negative, graph.value(graph.add(size, bound)), value));
    if (GraphLowering::same(bound, size))
      return high;
  }
  return graph.min(graph.max(bound, graph.constant(low)), high);
}

static LogicalResult lowerSlice(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0);
  FailureOr<SliceArguments> slice = readSlice(node, graph, x->rank());
  if (failed(slice))
    return failure();
  SmallVector<OpFoldResult> begins(x->rank(), graph.constant(0)), sizes = x->shape;
  SmallVector<int64_t> steps(x->rank(), 1);
  for (size_t i = 0; i < slice->axes.size(); ++i) {
    FailureOr<int64_t> axis = normalizeAxis(node, slice->axes[i], x->rank());
    if (failed(axis))
      return failure();
    int64_t step = slice->steps[i];
    OpFoldResult size = x->shape[*axis];
    if (step == 0)
      return node.emitError() << describe(node) << ": a step is 0";
    steps[*axis] = step;
    OpFoldResult last = graph.sub(size, graph.constant(1));
    if (step > 0) {
      begins[*axis] = clampBound(graph, slice->starts[i], size, 0, size);
      OpFoldResult end = clampBound(graph, slice->ends[i], size, 0, size);
      OpFoldResult span = graph.sub(end, begins[*axis]);
      sizes[*axis] = graph.divide(graph.add(span, graph.constant(step - 1)), graph.constant(step));
    } else {
      begins[*axis] = clampBound(graph, slice->starts[i], size, -1, last);
      OpFoldResult end = clampBound(graph, slice->ends[i], size, -1, last);
      OpFoldResult span = graph.sub(begins[*axis], end);
      sizes[*axis] = graph.divide(graph.add(span, graph.constant(-step - 1)), graph.constant(-step));
    }
    if (!GraphLowering::same(sizes[*axis], size))
      sizes[*axis] = graph.max(sizes[*axis], graph.constant(0));
  }
  if (ArrayRef(sizes) == ArrayRef(x->shape) && llvm::all_of(steps, [](int64_t s) { return s == 1; }))
    graph.set(node.getResult(0), *x);
  else
    graph.set(node.getResult(0), sliceBy(graph, *x, begins, steps, sizes));
  return success();
}

static LogicalResult lowerPad(onnxir::NodeOp node, GraphLowering &graph) {
  B &b = graph.b;
  Lowered *x = graph.input(node, 0);
  StringRef mode = stringAttr(node, "mode", "constant");
  std::optional<SmallVector<OpFoldResult>> pads;
  if (std::optional<SmallVector<int64_t>> given = intsAttr(node, "pads")) { // before opset 11
    pads.emplace();
    for (int64_t pad : *given)
      pads->push_back(graph.constant(pad));
  } else if (Lowered *input = graph.input(node, 1)) {
    graph.loadElements(*input);
    pads = graph.elementsAsIndex(*input);
  }
  SmallVector<int64_t> axes;
  if (Lowered *input = graph.input(node, 3))
    axes = graph.constantIntegers(*input).value_or(SmallVector<int64_t>());
  else
    for (int64_t dim = 0; dim < x->rank(); ++dim)
      axes.push_back(dim);
  if (!pads || pads->size() != 2 * axes.size())
    return node.emitError() << describe(node)
                            << ": pads must be two for each axis, and not depend on large data";
  if (mode != "constant" && mode != "edge" && mode != "reflect")
    return node.emitError() << describe(node) << ": mode '" << mode << "' is not supported in compiled code";
  Value fill = scalars::constant(b, x->elementType, floatAttr(node, "value", 0));
  if (Lowered *value = graph.input(node, 2)) {
    if (!value->elements) {
      SmallVector<Value> none;
      fill = tensor::ExtractOp::create(b, graph.tensor(*value),
                                       SmallVector<Value>(value->rank(), graph.value(graph.constant(0))));
    } else {
      fill = value->elements->front();
      if (fill.getType() != x->elementType)
        fill = arith::IndexCastOp::create(b, x->elementType, fill);
    }
  }
  SmallVector<OpFoldResult> sizes = x->shape;
  SmallVector<OpFoldResult> before(x->rank(), graph.constant(0));
  for (auto [i, axis] : llvm::enumerate(axes)) {
    FailureOr<int64_t> normal = normalizeAxis(node, axis, x->rank());
    if (failed(normal))
      return failure();
    before[*normal] = (*pads)[i];
    OpFoldResult more = graph.add((*pads)[i], (*pads)[i + axes.size()]);
    sizes[*normal] = graph.add(sizes[*normal], more);
    if (GraphLowering::mayBeNegative(more))
      sizes[*normal] = graph.max(sizes[*normal], graph.constant(0));
    // There must be an edge to repeat.
    if (mode != "constant" && !isConstantIntValue(more, 0))
      graph.requireSize(graph.sub(x->shape[*normal], graph.constant(1)),
                        describe(node) + ": an empty input cannot be padded in mode '" + mode + "'");
  }
  Value source = graph.tensor(*x);
  SmallVector<Value> limits, offsets;
  for (auto [size, offset] : llvm::zip(x->shape, before)) {
    limits.push_back(graph.value(size));
    offsets.push_back(graph.value(offset));
  }
  graph.set(node.getResult(0), graph.generate(sizes, x->elementType, [&](B &b, ArrayRef<Value> at) -> Value {
    SmallVector<Value> indices;
    Value zero = arith::ConstantIndexOp::create(b, 0), one = arith::ConstantIndexOp::create(b, 1);
    Value inside = arith::ConstantOp::create(b, b.getBoolAttr(true));
    for (auto [dim, index] : llvm::enumerate(at)) {
      if (GraphLowering::same(sizes[dim], x->shape[dim]) && isConstantIntValue(before[dim], 0)) {
        indices.push_back(index);
        continue;
      }
      Value position = arith::SubIOp::create(b, index, offsets[dim]);
      Value last = arith::SubIOp::create(b, limits[dim], one);
      if (mode == "reflect") {
        Value up = arith::MaxSIOp::create(b, position, arith::SubIOp::create(b, zero, position));
        Value down = arith::SubIOp::create(b, arith::AddIOp::create(b, last, last), up);
        position = arith::MinSIOp::create(b, up, down);
      }
      Value low = arith::CmpIOp::create(b, arith::CmpIPredicate::sge, position, zero);
      Value high = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, position, limits[dim]);
      inside = arith::AndIOp::create(b, inside, arith::AndIOp::create(b, low, high));
      indices.push_back(arith::MaxSIOp::create(b, arith::MinSIOp::create(b, position, last), zero));
    }
    if (mode != "constant")
      return tensor::ExtractOp::create(b, source, indices);
    // An empty input has no element to read, clamped or not.
    auto choose = scf::IfOp::create(b, TypeRange{x->elementType}, inside, /*withElse=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(choose.thenBlock());
    scf::YieldOp::create(b, ValueRange{tensor::ExtractOp::create(b, source, indices)});
    b.setInsertionPointToStart(choose.elseBlock());
    scf::YieldOp::create(b, fill);
    return choose.getResult(0);
  }));
  return success();
}

static LogicalResult lowerTile(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0), *repeats = graph.input(node, 1);
  graph.loadElements(*repeats);
  std::optional<SmallVector<OpFoldResult>> counts = graph.elementsAsIndex(*repeats);
  if (!counts || static_cast<int64_t>(counts->size()) != x->rank())
    return node.emitError() << describe(node) << ": repeats depend on data or do not fit the input's rank";
  SmallVector<OpFoldResult> sizes;
  for (auto [size, count] : llvm::zip(x->shape, *counts)) {
    graph.requireSize(count, describe(node) + ": a repeat is negative");
    sizes.push_back(graph.mul(size, count));
  }
  Value source = graph.tensor(*x);
  SmallVector<Value> limits;
  for (OpFoldResult size : x->shape)
    limits.push_back(graph.value(size));
  Lowered result = graph.generate(sizes, x->elementType, [&](B &b, ArrayRef<Value> at) -> Value {
    SmallVector<Value> indices;
    for (auto [dim, index] : llvm::enumerate(at))
      indices.push_back(isConstantIntValue((*counts)[dim], 1)
                            ? index
                            : Value(arith::RemUIOp::create(b, index, limits[dim])));
    return tensor::ExtractOp::create(b, source, indices);
  });
  result.isUnsigned = x->isUnsigned;
  graph.set(node.getResult(0), std::move(result));
  return success();
}

void adapter::addLayoutLowerings(LoweringTable &table) {
  table.add("Transpose", lowerTranspose);
  table.add("Concat", lowerConcat, 4);
  table.add("Split", lowerSplit);
  table.add("Slice", lowerSlice);
  table.add("Pad", lowerPad, 2);
  table.add("Tile", lowerTile, 6);
}
