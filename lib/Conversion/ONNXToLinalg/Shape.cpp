// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Operators that compute with shapes, and constants.
#include "lib/Conversion/ONNXToLinalg/Lowering.h"
#include "lib/Conversion/ONNXToLinalg/Scalars.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

static LogicalResult lowerShape(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0);
  int64_t rank = x->rank();
  auto clamp = [&](int64_t axis) { return std::clamp<int64_t>(axis < 0 ? axis + rank : axis, 0, rank); };
  int64_t start = clamp(intAttr(node, "start", 0)), end = clamp(intAttr(node, "end", rank));
  SmallVector<Value> sizes;
  for (int64_t dim = start; dim < end; ++dim)
    sizes.push_back(graph.value(x->shape[dim]));
  int64_t count = sizes.size();
  graph.set(node.getResult(0), graph.wrapElements(sizes, {count}, graph.b.getI64Type()));
  return success();
}

static LogicalResult lowerSize(onnxir::NodeOp node, GraphLowering &graph) {
  Value size = graph.value(graph.product(graph.input(node, 0)->shape));
  graph.set(node.getResult(0), graph.wrapElements({size}, {}, graph.b.getI64Type()));
  return success();
}

static LogicalResult notKnown(onnxir::NodeOp node, StringRef what) {
  return node.emitError() << describe(node) << ": " << what
                          << " must be computable from constants and input sizes; a value that depends on "
                             "data is not supported in compiled code";
}

static Value isEqual(GraphLowering &graph, OpFoldResult x, int64_t y) {
  return arith::CmpIOp::create(graph.b, arith::CmpIPredicate::eq, graph.value(x),
                               graph.value(graph.constant(y)));
}

static OpFoldResult choose(GraphLowering &graph, Value condition, OpFoldResult x, OpFoldResult y) {
  return graph.unique(arith::SelectOp::create(graph.b, condition, graph.value(x), graph.value(y)));
}

static LogicalResult lowerReshape(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0), *shape = graph.input(node, 1);
  graph.loadElements(*shape);
  std::optional<SmallVector<OpFoldResult>> wanted = graph.elementsAsIndex(*shape);
  if (!wanted)
    return notKnown(node, "the shape");
  bool allowZero = intAttr(node, "allowzero", 0);
  SmallVector<OpFoldResult> result, others;
  SmallVector<std::pair<unsigned, Value>> whereInferred; // dimensions that may be -1 in the call
  int64_t inferred = -1;
  for (auto [dim, size] : llvm::enumerate(*wanted)) {
    if (isConstantIntValue(size, -1)) {
      inferred = dim;
      result.push_back(graph.constant(1));
      continue;
    }
    if (isConstantIntValue(size, 0) && !allowZero) {
      if (static_cast<int64_t>(dim) >= x->rank())
        return node.emitError() << describe(node) << ": dimension " << dim << " is 0, but the input has rank "
                                << x->rank();
      size = x->shape[dim];
    }
    if (GraphLowering::mayBeNegative(size) && !getConstantIntValue(size)) {
      if (!allowZero && static_cast<int64_t>(dim) < x->rank())
        size = choose(graph, isEqual(graph, size, 0), x->shape[dim], size);
      Value isInferred = isEqual(graph, size, -1);
      whereInferred.emplace_back(dim, isInferred);
      size = choose(graph, isInferred, graph.constant(1), size);
      graph.requireSize(size, describe(node) + ": a size is negative");
    }
    result.push_back(size);
    others.push_back(size);
  }
  OpFoldResult rest = graph.quotient(x->shape, others);
  if (inferred >= 0)
    result[inferred] = rest;
  for (auto [dim, isInferred] : whereInferred)
    result[dim] = choose(graph, isInferred, rest, result[dim]);
  // What the model promises and what comes may differ: check unless the products are the same value.
  OpFoldResult have = graph.product(x->shape), want = graph.product(result);
  if (!GraphLowering::same(have, want) && !isConstantIntValue(graph.quotient(x->shape, result), 1)) {
    Value equal =
        arith::CmpIOp::create(graph.b, arith::CmpIPredicate::eq, graph.value(have), graph.value(want));
    graph.require(equal, describe(node) + ": the number of elements changes: from {0} to {1}", {have, want});
  } else if (getConstantIntValue(have) && getConstantIntValue(want) && !GraphLowering::same(have, want)) {
    return node.emitError() << describe(node) << ": the number of elements changes";
  }
  graph.set(node.getResult(0), graph.reshape(*x, result));
  return success();
}

static LogicalResult lowerFlatten(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0);
  int64_t axis = intAttr(node, "axis", 1);
  axis = axis < 0 ? axis + x->rank() : axis;
  if (axis < 0 || axis > x->rank())
    return node.emitError() << describe(node) << ": axis is outside the input";
  ArrayRef<OpFoldResult> shape = x->shape;
  graph.set(node.getResult(0), graph.reshape(*x, {graph.product(shape.take_front(axis)),
                                                  graph.product(shape.drop_front(axis))}));
  return success();
}

// Axes from the attribute (before opset 13) or from input 1.
static FailureOr<std::optional<SmallVector<int64_t>>> readAxes(onnxir::NodeOp node, GraphLowering &graph) {
  if (std::optional<SmallVector<int64_t>> axes = intsAttr(node, "axes"))
    return axes;
  Lowered *input = graph.input(node, 1);
  if (!input)
    return std::optional<SmallVector<int64_t>>();
  std::optional<SmallVector<int64_t>> axes = graph.constantIntegers(*input);
  if (!axes)
    return node.emitError() << describe(node) << ": axes must be constant";
  return axes;
}

static LogicalResult lowerSqueeze(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0);
  FailureOr<std::optional<SmallVector<int64_t>>> axes = readAxes(node, graph);
  if (failed(axes))
    return failure();
  llvm::SmallBitVector dropped(x->rank());
  if (*axes) {
    for (int64_t axis : **axes) {
      FailureOr<int64_t> normal = normalizeAxis(node, axis, x->rank());
      if (failed(normal))
        return failure();
      dropped.set(*normal);
    }
  } else {
    for (int64_t dim = 0; dim < x->rank(); ++dim)
      if (isConstantIntValue(x->shape[dim], 1))
        dropped.set(dim);
  }
  SmallVector<OpFoldResult> shape;
  for (int64_t dim = 0; dim < x->rank(); ++dim) {
    if (dropped[dim])
      graph.requireEqual(x->shape[dim], graph.constant(1), describe(node) + ": a squeezed size is not 1");
    else
      shape.push_back(x->shape[dim]);
  }
  graph.set(node.getResult(0), graph.reshape(*x, shape));
  return success();
}

static LogicalResult lowerUnsqueeze(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0);
  FailureOr<std::optional<SmallVector<int64_t>>> axes = readAxes(node, graph);
  if (failed(axes) || !*axes)
    return failed(axes) ? failure() : node.emitError() << describe(node) << ": axes are missing";
  int64_t rank = x->rank() + (*axes)->size();
  SmallVector<OpFoldResult> shape(rank);
  for (int64_t axis : **axes) {
    FailureOr<int64_t> normal = normalizeAxis(node, axis, rank);
    if (failed(normal))
      return failure();
    if (shape[*normal])
      return node.emitError() << describe(node) << ": axis " << axis << " is there twice";
    shape[*normal] = graph.constant(1);
  }
  auto next = x->shape.begin();
  for (OpFoldResult &size : shape)
    if (!size)
      size = *next++;
  graph.set(node.getResult(0), graph.reshape(*x, shape));
  return success();
}

static LogicalResult lowerExpand(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0), *shape = graph.input(node, 1);
  graph.loadElements(*shape);
  std::optional<SmallVector<OpFoldResult>> wanted = graph.elementsAsIndex(*shape);
  if (!wanted)
    return notKnown(node, "the shape");
  // A scalar stand-in of the wanted shape broadcasts with the input.
  for (OpFoldResult size : *wanted)
    graph.requireSize(size, describe(node) + ": a size is negative");
  Lowered target;
  target.shape = *wanted;
  SmallVector<OpFoldResult> result = graph.broadcastShapes({x, &target});
  if (ArrayRef(result) == ArrayRef(x->shape)) {
    graph.set(node.getResult(0), *x);
    return success();
  }
  Value empty = graph.empty(result, x->elementType);
  Lowered place = graph.wrap(empty, result);
  Lowered expanded =
      graph.elementwise({x, &place}, x->elementType, [](B &, ArrayRef<Value> s) -> Value { return s[0]; });
  expanded.isUnsigned = x->isUnsigned;
  graph.set(node.getResult(0), std::move(expanded));
  return success();
}

static LogicalResult lowerConstant(onnxir::NodeOp node, GraphLowering &graph) {
  B &b = graph.b;
  auto set = [&](ArrayRef<Value> elements, ArrayRef<int64_t> shape, Type type) {
    graph.set(node.getResult(0), graph.wrapElements(elements, shape, type));
    return success();
  };
  auto index = [&](int64_t value) { return graph.value(graph.constant(value)); };
  if (auto value = dyn_cast_or_null<onnxir::TensorAttr>(node.getNodeAttr("value"))) {
    FailureOr<Lowered> lowered =
        graph.parameter(node, value.getScope(), value.getKey(), value.getType(), value.getValue());
    if (failed(lowered))
      return failure();
    graph.set(node.getResult(0), std::move(*lowered));
    return success();
  }
  if (auto value = dyn_cast_or_null<DenseElementsAttr>(node.getNodeAttr("value"))) {
    FailureOr<Lowered> lowered = graph.parameter(node, "", "value", value.getType(), value);
    if (failed(lowered))
      return failure();
    graph.set(node.getResult(0), std::move(*lowered));
    return success();
  }
  if (auto value = dyn_cast_or_null<IntegerAttr>(node.getNodeAttr("value_int")))
    return set({index(value.getInt())}, {}, b.getI64Type());
  if (auto value = dyn_cast_or_null<FloatAttr>(node.getNodeAttr("value_float")))
    return set({scalars::constant(b, b.getF32Type(), value.getValueAsDouble())}, {}, b.getF32Type());
  if (std::optional<SmallVector<int64_t>> values = intsAttr(node, "value_ints")) {
    SmallVector<Value> elements = llvm::map_to_vector(*values, index);
    return set(elements, {static_cast<int64_t>(elements.size())}, b.getI64Type());
  }
  if (auto values = dyn_cast_or_null<DenseF32ArrayAttr>(node.getNodeAttr("value_floats"))) {
    auto type = RankedTensorType::get({values.size()}, b.getF32Type());
    Value tensor = arith::ConstantOp::create(b, DenseElementsAttr::get(type, values.asArrayRef()));
    graph.set(node.getResult(0), graph.wrap(tensor, {graph.constant(values.size())}));
    return success();
  }
  return node.emitError() << describe(node) << ": this kind of constant is not supported in compiled code";
}

static LogicalResult lowerConstantOfShape(onnxir::NodeOp node, GraphLowering &graph) {
  B &b = graph.b;
  Lowered *shape = graph.input(node, 0);
  graph.loadElements(*shape);
  std::optional<SmallVector<OpFoldResult>> sizes = graph.elementsAsIndex(*shape);
  if (!sizes)
    return notKnown(node, "the shape");
  for (OpFoldResult size : *sizes)
    graph.requireSize(size, describe(node) + ": a size is negative");
  Attribute fill = b.getF32FloatAttr(0);
  Type type = b.getF32Type();
  bool isUnsigned = false;
  auto dense = dyn_cast_or_null<DenseElementsAttr>(node.getNodeAttr("value"));
  if (dense && dense.getElementType().isInteger() && dense.getNumElements() == 1) {
    isUnsigned = dense.getElementType().isUnsignedInteger();
    type = IntegerType::get(b.getContext(), dense.getElementType().getIntOrFloatBitWidth());
    fill = IntegerAttr::get(type, *dense.getValues<APInt>().begin());
  } else if (auto value = dyn_cast_or_null<onnxir::TensorAttr>(node.getNodeAttr("value"))) {
    FailureOr<RankedTensorType> plain = plainType(node, value.getType(), "value");
    if (failed(plain))
      return failure();
    isUnsigned = cast<RankedTensorType>(value.getType()).getElementType().isUnsignedInteger();
    type = plain->getElementType();
    auto known = dyn_cast_or_null<DenseElementsAttr>(value.getValue());
    if (!known)
      known = graph.contents(value.getScope(), value.getKey(), *plain);
    if (!known || known.getNumElements() != 1)
      return node.emitError() << describe(node) << ": the value to fill with is unknown";
    if (isa<FloatType>(type))
      fill = FloatAttr::get(type, *known.getValues<APFloat>().begin());
    else
      fill = IntegerAttr::get(type, *known.getValues<APInt>().begin());
  }
  Value scalar = arith::ConstantOp::create(b, cast<TypedAttr>(fill));
  Lowered result;
  result.shape = *sizes;
  int64_t count = 1;
  for (OpFoldResult size : *sizes)
    count = getConstantIntValue(size) && count <= 64 ? count * *getConstantIntValue(size) : 65;
  if (count <= 64 && isa<IntegerType>(type)) {
    if (!type.isInteger(1))
      scalar = graph.value(graph.constant(cast<IntegerAttr>(fill).getInt()));
    result.elementType = type;
    result.elements.emplace(count, scalar);
  } else {
    result = graph.generate(*sizes, type, [&](B &, ArrayRef<Value>) { return scalar; });
  }
  result.isUnsigned = isUnsigned;
  graph.set(node.getResult(0), std::move(result));
  return success();
}

static LogicalResult lowerRange(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *start = graph.input(node, 0), *limit = graph.input(node, 1), *step = graph.input(node, 2);
  for (Lowered *input : {start, limit, step})
    graph.loadElements(*input);
  Type type = start->elementType;
  if (!isa<IntegerType>(type) || !start->elements || !limit->elements || !step->elements)
    return notKnown(node, "start, limit and delta (integers)");
  OpFoldResult first = graph.elementsAsIndex(*start)->front(), end = graph.elementsAsIndex(*limit)->front();
  std::optional<SmallVector<int64_t>> delta = graph.constantIntegers(*step);
  if (!delta || delta->front() == 0)
    return node.emitError() << describe(node) << ": delta must be a constant other than 0";
  OpFoldResult span = delta->front() > 0 ? graph.sub(end, first) : graph.sub(first, end);
  int64_t stride = std::abs(delta->front());
  OpFoldResult count = graph.divide(graph.add(span, graph.constant(stride - 1)), graph.constant(stride));
  // Sizes that come from shapes are never negative; others may be.
  if (!isConstantIntValue(first, 0) || stride != 1)
    count = graph.max(count, graph.constant(0));
  if (std::optional<int64_t> known = getConstantIntValue(count);
      known && *known <= 64 && getConstantIntValue(first)) {
    SmallVector<Value> elements;
    for (int64_t i = 0; i < *known; ++i)
      elements.push_back(graph.value(graph.constant(*getConstantIntValue(first) + i * delta->front())));
    graph.set(node.getResult(0), graph.wrapElements(elements, {*known}, type));
    return success();
  }
  Value from = graph.value(first), by = graph.value(graph.constant(delta->front()));
  graph.set(node.getResult(0), graph.generate({count}, type, [&](B &b, ArrayRef<Value> at) -> Value {
    Value element = arith::AddIOp::create(b, from, arith::MulIOp::create(b, at[0], by));
    return arith::IndexCastOp::create(b, type, element);
  }));
  return success();
}

void adapter::addShapeLowerings(LoweringTable &table) {
  table.add("Shape", lowerShape);
  table.add("Size", lowerSize);
  table.add("Reshape", lowerReshape, 5);
  table.add("Flatten", lowerFlatten);
  table.add("Squeeze", lowerSqueeze);
  table.add("Unsqueeze", lowerUnsqueeze);
  table.add("Expand", lowerExpand, 8);
  table.add("Constant", lowerConstant);
  table.add("ConstantOfShape", lowerConstantOfShape, 9);
  table.add("Range", lowerRange, 11);
}
