// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Resize: one axis after the other, each position a weighted sum of one, two or four of the input's.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "lib/Conversion/ONNXToLinalg/Lowering.h"
#include "lib/Conversion/ONNXToLinalg/Scalars.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include <cmath>

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

namespace {
struct ResizeMode {
  StringRef mode, place, nearest;
  double cubic = -0.75;
  bool excludeOutside = false;
};

// One axis of a resize: sizes, and the ratio of result to input as f64.
struct ResizedAxis {
  int64_t axis;
  OpFoldResult size;
  Value scale;
  Value length; // of the result as the ratio has it, which need not be whole
};
} // namespace

static Value number(B &b, double value) { return arith::ConstantOp::create(b, b.getF64FloatAttr(value)); }
static Value toFloat(B &b, Value index) {
  return arith::SIToFPOp::create(b, b.getF64Type(), arith::IndexCastOp::create(b, b.getI64Type(), index));
}
static Value add(B &b, Value x, Value y) { return arith::AddFOp::create(b, x, y); }
static Value sub(B &b, Value x, Value y) { return arith::SubFOp::create(b, x, y); }
static Value mul(B &b, Value x, Value y) { return arith::MulFOp::create(b, x, y); }
static Value div(B &b, Value x, Value y) { return arith::DivFOp::create(b, x, y); }

// Where position `at` of `to` lies among the positions of `from` (all f64).
static Value originalPlace(B &b, const ResizeMode &mode, Value at, Value from, Value to, Value scale) {
  Value half = number(b, 0.5), one = number(b, 1), zero = number(b, 0);
  auto centred = [&] { return sub(b, div(b, add(b, at, half), scale), half); };
  Value single = arith::CmpFOp::create(b, arith::CmpFPredicate::OLE, to, one);
  if (mode.place == "asymmetric")
    return div(b, at, scale);
  if (mode.place == "align_corners") {
    Value divisor = arith::SelectOp::create(b, single, one, sub(b, to, one));
    Value place = div(b, mul(b, at, sub(b, from, one)), divisor);
    return arith::SelectOp::create(b, single, zero, place);
  }
  if (mode.place == "pytorch_half_pixel")
    return arith::SelectOp::create(b, single, zero, centred());
  if (mode.place == "half_pixel_symmetric") {
    Value adjustment = div(b, to, mul(b, scale, from));
    Value offset = mul(b, div(b, from, number(b, 2)), sub(b, one, adjustment));
    return add(b, offset, centred());
  }
  return centred();
}

// Weights of the positions first, first + 1, ... of the input.
static SmallVector<Value> weightsAt(B &b, const ResizeMode &mode, Value place, Value &first) {
  Value one = number(b, 1), half = number(b, 0.5);
  if (mode.mode == "nearest") {
    if (mode.nearest == "floor")
      first = math::FloorOp::create(b, place);
    else if (mode.nearest == "ceil")
      first = math::CeilOp::create(b, place);
    else if (mode.nearest == "round_prefer_ceil")
      first = math::FloorOp::create(b, add(b, place, half));
    else
      first = math::CeilOp::create(b, sub(b, place, half));
    return {one};
  }
  Value below = math::FloorOp::create(b, place), ratio = sub(b, place, below);
  if (mode.mode == "linear") {
    first = below;
    return {sub(b, one, ratio), ratio};
  }
  first = sub(b, below, one);
  // Keys' cubic: (a + 2)|x|^3 - (a + 3)|x|^2 + 1 up to 1, a|x|^3 - 5a|x|^2 + 8a|x| - 4a up to 2.
  auto near = [&](Value x) {
    Value inner = sub(b, mul(b, number(b, mode.cubic + 2), x), number(b, mode.cubic + 3));
    return add(b, mul(b, mul(b, inner, x), x), one);
  };
  auto far = [&](Value x) {
    Value a = number(b, mode.cubic);
    Value inner = add(b, mul(b, sub(b, x, number(b, 5)), x), number(b, 8));
    return mul(b, a, sub(b, mul(b, inner, x), number(b, 4)));
  };
  Value other = sub(b, one, ratio);
  return {far(add(b, ratio, one)), near(ratio), near(other), far(add(b, other, one))};
}

static Lowered resizeAxis(GraphLowering &graph, Lowered &x, const ResizedAxis &resized,
                          const ResizeMode &mode) {
  SmallVector<OpFoldResult> shape = x.shape;
  shape[resized.axis] = resized.size;
  Value source = graph.tensor(x), from = graph.value(x.shape[resized.axis]), to = graph.value(resized.size);
  Type type = x.elementType;
  Lowered result = graph.generate(shape, type, [&](B &b, ArrayRef<Value> at) -> Value {
    Value first, last = toFloat(b, arith::SubIOp::create(b, from, arith::ConstantIndexOp::create(b, 1)));
    Value length = mode.place == "align_corners" ? resized.length : toFloat(b, to);
    Value place =
        originalPlace(b, mode, toFloat(b, at[resized.axis]), toFloat(b, from), length, resized.scale);
    SmallVector<Value> weights = weightsAt(b, mode, place, first);
    Value sum, total;
    for (auto [i, weight] : llvm::enumerate(weights)) {
      Value position = add(b, first, number(b, i)), zero = number(b, 0);
      Value inside = arith::MinimumFOp::create(b, arith::MaximumFOp::create(b, position, zero), last);
      if (mode.excludeOutside) {
        Value same = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, inside, position);
        weight = arith::SelectOp::create(b, same, weight, zero);
      }
      SmallVector<Value> indices(at);
      indices[resized.axis] =
          arith::IndexCastOp::create(b, b.getIndexType(), arith::FPToSIOp::create(b, b.getI64Type(), inside));
      Value element = tensor::ExtractOp::create(b, source, indices);
      if (weights.size() == 1)
        return element;
      Value wide = type.isF64() ? element : arith::ExtFOp::create(b, b.getF64Type(), element);
      Value product = mul(b, wide, weight);
      sum = sum ? add(b, sum, product) : product;
      total = total ? add(b, total, weight) : weight;
    }
    if (mode.excludeOutside)
      sum = div(b, sum, total);
    return type.isF64() ? sum : arith::TruncFOp::create(b, type, sum);
  });
  result.isUnsigned = x.isUnsigned;
  result.isParameter = x.isParameter;
  return result;
}

// The elements of a vector of floats: constants where they are known, else read from memory.
static SmallVector<Value> floatsOf(GraphLowering &graph, onnxir::NodeOp node, unsigned index) {
  B &b = graph.b;
  Lowered &value = *graph.input(node, index);
  SmallVector<Value> result;
  auto parameter = node.getInputs()[index].getDefiningOp<ParameterOp>();
  DenseElementsAttr known;
  if (parameter) {
    known = dyn_cast_or_null<DenseElementsAttr>(parameter.getValueAttr());
    auto type = cast<RankedTensorType>(parameter.getType());
    if (!known)
      known = graph.contents(parameter.getScope(), parameter.getKey(),
                             RankedTensorType::get(type.getShape(), type.getElementType()));
  }
  for (int64_t i = 0; i < value.staticSize(0); ++i) {
    Value element;
    if (known)
      element = number(b, known.getValues<APFloat>()[i].convertToFloat());
    else if (value.elements)
      element = (*value.elements)[i];
    else
      element = tensor::ExtractOp::create(b, graph.tensor(value), ValueRange{graph.value(graph.constant(i))});
    if (element.getType() != b.getF64Type())
      element = arith::ExtFOp::create(b, b.getF64Type(), element);
    result.push_back(element);
  }
  return result;
}

static std::optional<double> constantFloat(Value value) {
  FloatAttr known;
  if (matchPattern(value, m_Constant(&known)))
    return known.getValueAsDouble();
  return std::nullopt;
}

static LogicalResult lowerResize(onnxir::NodeOp node, GraphLowering &graph) {
  B &b = graph.b;
  Lowered x = *graph.input(node, 0);
  bool old = node.getOpsetVersion() < 11; // then: input, scales
  ResizeMode mode{stringAttr(node, "mode", "nearest"),
                  stringAttr(node, "coordinate_transformation_mode", old ? "asymmetric" : "half_pixel"),
                  stringAttr(node, "nearest_mode", old ? "floor" : "round_prefer_floor"),
                  floatAttr(node, "cubic_coeff_a", -0.75), intAttr(node, "exclude_outside", 0) != 0};
  StringRef policy = stringAttr(node, "keep_aspect_ratio_policy", "stretch");
  if (intAttr(node, "antialias", 0) || mode.place.starts_with("tf_") || policy != "stretch")
    return node.emitError() << describe(node) << ": antialias, cropping and keep_aspect_ratio_policy '"
                            << policy << "' are not supported in compiled code";
  if (mode.mode != "nearest" && !isa<FloatType>(x.elementType))
    return node.emitError() << describe(node) << ": mode '" << mode.mode << "' is supported for floats only";
  SmallVector<int64_t> axes;
  if (std::optional<SmallVector<int64_t>> given = intsAttr(node, "axes"))
    axes = *given;
  else
    for (int64_t dim = 0; dim < x.rank(); ++dim)
      axes.push_back(dim);
  Lowered *scales = graph.input(node, old ? 1 : 2), *sizes = old ? nullptr : graph.input(node, 3);
  if (sizes)
    graph.loadElements(*sizes);
  std::optional<SmallVector<OpFoldResult>> wanted =
      sizes ? graph.elementsAsIndex(*sizes) : std::optional<SmallVector<OpFoldResult>>();
  bool fits =
      sizes ? wanted && wanted->size() == axes.size()
            : scales && scales->rank() == 1 && scales->staticSize(0) == static_cast<int64_t>(axes.size());
  if (!fits)
    return node.emitError() << describe(node)
                            << ": sizes or scales must be one for each axis, and not depend "
                            << "on large data";
  SmallVector<Value> factors = sizes ? SmallVector<Value>() : floatsOf(graph, node, old ? 1 : 2);
  auto type = dyn_cast<RankedTensorType>(node.getResult(0).getType());
  for (auto [i, each] : llvm::enumerate(axes)) {
    FailureOr<int64_t> axis = normalizeAxis(node, each, x.rank());
    if (failed(axis))
      return failure();
    OpFoldResult size = x.shape[*axis];
    ResizedAxis resized{*axis, {}, {}, {}};
    if (sizes) {
      resized.size = (*wanted)[i];
      graph.requireSize(resized.size, describe(node) + ": a size is negative");
      if (GraphLowering::same(resized.size, size))
        continue;
      resized.length = toFloat(b, graph.value(resized.size));
      resized.scale = div(b, resized.length, toFloat(b, graph.value(size)));
    } else {
      std::optional<double> known = constantFloat(factors[i]);
      if (known == 1.0)
        continue;
      resized.scale = factors[i];
      resized.length = mul(b, factors[i], toFloat(b, graph.value(size)));
      std::optional<int64_t> from = getConstantIntValue(size);
      if (known && from) {
        resized.size = graph.constant(static_cast<int64_t>(std::floor(*from * *known)));
      } else if (type && type.getRank() == x.rank() && !type.isDynamicDim(*axis)) {
        resized.size = graph.constant(type.getDimSize(*axis));
      } else {
        Value whole = math::FloorOp::create(b, mul(b, toFloat(b, graph.value(size)), factors[i]));
        Value integer = arith::FPToSIOp::create(b, b.getI64Type(), whole);
        resized.size = Value(arith::IndexCastOp::create(b, b.getIndexType(), integer));
        graph.requireSize(resized.size, describe(node) + ": a size is negative");
      }
    }
    // Something must be there to read.
    if (!isConstantIntValue(resized.size, 0))
      graph.requireSize(graph.sub(size, graph.constant(1)), describe(node) + ": the input is empty");
    x = resizeAxis(graph, x, resized, mode);
  }
  graph.set(node.getResult(0), std::move(x));
  return success();
}

void adapter::addResizeLowerings(LoweringTable &table) { table.add("Resize", lowerResize, 10); }
