// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Questions about ONNX nodes, and the evaluation of the integers that sizes are computed from: exporters that
// trace leave long chains of Shape, Slice, Concat and the like where another writes a constant.
#include "lib/Conversion/ONNXToAdapter/GraphMatch.h"
#include "dialects/Adapter/IR/AdapterOps.h"

using namespace mlir;
using namespace adapter;

using Integers = SmallVector<std::optional<int64_t>>;

static bool isOwn(onnxir::NodeOp node) { return node.getDomain().empty() || node.getDomain() == "ai.onnx"; }

Value adapter::before(Value value) {
  while (auto node = value ? value.getDefiningOp<onnxir::NodeOp>() : onnxir::NodeOp()) {
    bool isSame = isOwn(node) && node.getOpType() == "Identity";
    if (isOwn(node) && node.getOpType() == "Cast" && node.getInputs().size() == 1) {
      RankedTensorType from = tensorOf(node.getInputs()[0]), to = tensorOf(value);
      isSame = from && to && from.getElementType() == to.getElementType();
    }
    if (!isSame)
      break;
    value = node.getInputs()[0];
  }
  return value;
}

onnxir::NodeOp adapter::madeBy(Value value, StringRef type) {
  value = before(value);
  auto node = value ? value.getDefiningOp<onnxir::NodeOp>() : onnxir::NodeOp();
  return node && isOwn(node) && node.getOpType() == type ? node : onnxir::NodeOp();
}

Value adapter::inputOf(onnxir::NodeOp node, unsigned index) { return before(node.getInputOrNull(index)); }

int64_t adapter::attributeOf(onnxir::NodeOp node, StringRef name, int64_t fallback) {
  auto attribute = dyn_cast_or_null<IntegerAttr>(node.getNodeAttr(name));
  return attribute ? attribute.getValue().getSExtValue() : fallback;
}

RankedTensorType adapter::tensorOf(Value value) {
  return value ? dyn_cast<RankedTensorType>(value.getType()) : RankedTensorType();
}

bool adapter::hasRank(Value value, int64_t rank) {
  RankedTensorType type = tensorOf(value);
  return type && type.getRank() == rank;
}

bool adapter::isReadBy(Value value, ArrayRef<StringRef> types) {
  return llvm::all_of(value.getUsers(), [&](Operation *user) {
    auto node = dyn_cast<onnxir::NodeOp>(user);
    if (!node || !isOwn(node))
      return false;
    if (node.getOpType() == "Identity" ||
        (node.getOpType() == "Cast" && before(node.getResult(0)) == before(value)))
      return isReadBy(node.getResult(0), types);
    return node.getOpType() == "Shape" || llvm::is_contained(types, node.getOpType());
  });
}

void adapter::eraseDeadNodes(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
    if (isa<onnxir::NodeOp>(op) && isOpTriviallyDead(&op))
      op.erase();
}

//===----------------------------------------------------------------------===//
// Integers
//===----------------------------------------------------------------------===//

static std::optional<Integers> elementsOf(Attribute attribute) {
  if (auto tensor = dyn_cast_or_null<onnxir::TensorAttr>(attribute))
    attribute = tensor.getValue();
  Integers integers;
  if (auto dense = dyn_cast_or_null<DenseIntElementsAttr>(attribute)) {
    for (const APInt &element : dense.getValues<APInt>())
      integers.push_back(element.getSExtValue());
    return integers;
  }
  if (auto array = dyn_cast_or_null<DenseI64ArrayAttr>(attribute))
    return Integers(array.asArrayRef());
  if (auto one = dyn_cast_or_null<IntegerAttr>(attribute))
    return Integers{one.getValue().getSExtValue()};
  return std::nullopt;
}

static std::optional<Integers> constantNode(onnxir::NodeOp node) {
  for (StringRef name : {"value", "value_int", "value_ints"})
    if (Attribute attribute = node.getNodeAttr(name))
      return elementsOf(attribute);
  return std::nullopt;
}

static std::optional<Integers> shapeNode(onnxir::NodeOp node) {
  RankedTensorType type = tensorOf(node.getInputs()[0]);
  if (!type || node.getNodeAttr("start") || node.getNodeAttr("end"))
    return std::nullopt;
  Integers sizes;
  for (int64_t size : type.getShape())
    sizes.push_back(ShapedType::isDynamic(size) ? std::nullopt : std::optional(size));
  return sizes;
}

static std::optional<Integers> concatNode(onnxir::NodeOp node, unsigned depth);
static std::optional<Integers> evaluate(Value value, unsigned depth);

static std::optional<Integers> gatherNode(onnxir::NodeOp node, unsigned depth) {
  std::optional<Integers> from = evaluate(node.getInputOrNull(0), depth),
                          at = evaluate(node.getInputOrNull(1), depth);
  if (!from || !at || !hasRank(node.getInputs()[0], 1))
    return std::nullopt;
  Integers picked;
  int64_t size = from->size();
  for (std::optional<int64_t> index : *at) {
    if (!index || *index < -size || *index >= size)
      return std::nullopt;
    picked.push_back((*from)[*index < 0 ? *index + size : *index]);
  }
  return picked;
}

// A slice of a list, step 1.
static std::optional<Integers> sliceNode(onnxir::NodeOp node, unsigned depth) {
  std::optional<Integers> from = evaluate(node.getInputOrNull(0), depth);
  std::optional<Integers> begin = evaluate(node.getInputOrNull(1), depth);
  std::optional<Integers> end = evaluate(node.getInputOrNull(2), depth);
  if (!from || !begin || !end || begin->size() != 1 || end->size() != 1 || !begin->front() || !end->front() ||
      !hasRank(node.getInputs()[0], 1))
    return std::nullopt;
  if (Value steps = node.getInputOrNull(4); steps && constantsOf(steps) != SmallVector<int64_t>{1})
    return std::nullopt;
  auto clamp = [&](int64_t at) -> int64_t {
    int64_t size = from->size();
    return std::clamp<int64_t>(at < 0 ? at + size : at, 0, size);
  };
  int64_t first = clamp(*begin->front()), last = std::max(first, clamp(*end->front()));
  return Integers(from->begin() + first, from->begin() + last);
}

// One hot column per index, of a constant depth.
static std::optional<Integers> oneHotNode(onnxir::NodeOp node, unsigned depth) {
  std::optional<Integers> indices = evaluate(node.getInputOrNull(0), depth);
  std::optional<Integers> size = evaluate(node.getInputOrNull(1), depth);
  std::optional<Integers> values = evaluate(node.getInputOrNull(2), depth);
  if (!indices || indices->size() != 1 || !indices->front() || !size || size->size() != 1 || !size->front() ||
      !values || values->size() != 2 || *size->front() < 0 || *size->front() > 64)
    return std::nullopt;
  Integers result(*size->front(), values->front());
  int64_t at = *indices->front() < 0 ? *indices->front() + *size->front() : *indices->front();
  if (at >= 0 && at < static_cast<int64_t>(result.size()))
    result[at] = values->back();
  return result;
}

static std::optional<Integers> arithmeticNode(onnxir::NodeOp node, unsigned depth) {
  std::optional<Integers> x = evaluate(node.getInputOrNull(0), depth),
                          y = evaluate(node.getInputOrNull(1), depth);
  if (!x || !y || (x->size() != y->size() && x->size() != 1 && y->size() != 1))
    return std::nullopt;
  Integers result;
  for (size_t i = 0; i < std::max(x->size(), y->size()); ++i) {
    std::optional<int64_t> p = (*x)[x->size() == 1 ? 0 : i], q = (*y)[y->size() == 1 ? 0 : i], value;
    StringRef type = node.getOpType();
    if (p && q && (type != "Div" || *q > 0))
      value = type == "Add" ? *p + *q : type == "Sub" ? *p - *q : type == "Mul" ? *p * *q : *p / *q;
    result.push_back(value);
  }
  return result;
}

static std::optional<Integers> concatNode(onnxir::NodeOp node, unsigned depth) {
  Integers all;
  for (Value input : node.getInputs()) {
    std::optional<Integers> part = evaluate(input, depth);
    if (!part)
      return std::nullopt;
    all.append(*part);
  }
  return all;
}

static std::optional<Integers> evaluate(Value value, unsigned depth) {
  RankedTensorType type = tensorOf(value);
  if (!type || !type.getElementType().isInteger() || type.getRank() > 2)
    return std::nullopt;
  if (auto parameter = value.getDefiningOp<ParameterOp>())
    return elementsOf(parameter.getValueAttr());
  auto node = value.getDefiningOp<onnxir::NodeOp>();
  std::optional<Integers> result;
  if (node && isOwn(node) && depth > 0) {
    StringRef kind = node.getOpType();
    if (kind == "Constant")
      result = constantNode(node);
    else if (kind == "Shape")
      result = shapeNode(node);
    else if (kind == "Gather")
      result = gatherNode(node, depth - 1);
    else if (kind == "Slice")
      result = sliceNode(node, depth - 1);
    else if (kind == "Concat")
      result = concatNode(node, depth - 1);
    else if (kind == "OneHot")
      result = oneHotNode(node, depth - 1);
    else if (kind == "Add" || kind == "Sub" || kind == "Mul" || kind == "Div")
      result = arithmeticNode(node, depth - 1);
    else if (kind == "Squeeze" || kind == "Unsqueeze" || kind == "Reshape" || kind == "Cast" ||
             kind == "Identity")
      result = evaluate(node.getInputs()[0], depth - 1);
  }
  // The number of elements may be known where they are not.
  if (!result && type.hasStaticShape() && type.getNumElements() <= 64)
    return Integers(type.getNumElements(), std::nullopt);
  return result;
}

std::optional<Integers> adapter::integersOf(Value value) {
  return value ? evaluate(value, 32) : std::nullopt;
}

std::optional<SmallVector<int64_t>> adapter::constantsOf(Value value) {
  std::optional<Integers> integers = integersOf(value);
  SmallVector<int64_t> constants;
  for (std::optional<int64_t> each : integers.value_or(Integers{std::nullopt})) {
    if (!each)
      return std::nullopt;
    constants.push_back(*each);
  }
  return constants;
}

std::optional<SmallVector<int64_t>> adapter::axesOf(onnxir::NodeOp node) {
  if (Value axes = node.getInputOrNull(1))
    return constantsOf(axes);
  if (std::optional<Integers> axes = elementsOf(node.getNodeAttr("axes"))) {
    SmallVector<int64_t> constants;
    for (std::optional<int64_t> axis : *axes)
      constants.push_back(*axis);
    return constants;
  }
  return std::nullopt;
}

bool adapter::hasAxis(onnxir::NodeOp node, int64_t axis, int64_t rank) {
  std::optional<SmallVector<int64_t>> axes = axesOf(node);
  return axes && axes->size() == 1 && (axes->front() == axis || axes->front() == axis - rank);
}

Value adapter::matchActivation(Value value, checkpoint::Activation &activation) {
  if (auto relu = madeBy(value, "Relu")) {
    activation = checkpoint::Activation::Relu;
    return inputOf(relu, 0);
  }
  if (auto gelu = madeBy(value, "Gelu")) {
    auto approximate = dyn_cast_or_null<StringAttr>(gelu.getNodeAttr("approximate"));
    activation = approximate && approximate.getValue() == "tanh" ? checkpoint::Activation::GeluTanh
                                                                 : checkpoint::Activation::Gelu;
    return inputOf(gelu, 0);
  }
  if (auto swish = madeBy(value, "Swish"); swish && !swish.getNodeAttr("alpha")) {
    activation = checkpoint::Activation::Silu;
    return inputOf(swish, 0);
  }
  if (auto product = madeBy(value, "Mul"))
    for (unsigned side : {0u, 1u})
      if (auto sigmoid = madeBy(inputOf(product, side), "Sigmoid"))
        if (inputOf(sigmoid, 0) == inputOf(product, 1 - side)) {
          activation = checkpoint::Activation::Silu;
          return inputOf(product, 1 - side);
        }
  return {};
}
