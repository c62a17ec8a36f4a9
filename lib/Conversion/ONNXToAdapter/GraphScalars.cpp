// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Numbers that a graph holds or computes from constants and static sizes: factors of attention, for one.
#include "lib/Conversion/ONNXToAdapter/GraphMatch.h"
#include "lib/Support/ParameterStore.h"
#include <cmath>
#include <cstring>

using namespace mlir;
using namespace adapter;
using checkpoint::DType;

// How far chains of operators are followed.
static constexpr unsigned maxDepth = 16;

template <typename T>
static double read(const checkpoint::Tensor &tensor) {
  T value;
  std::memcpy(&value, tensor.data, sizeof(T));
  return static_cast<double>(value);
}

static std::optional<double> contentsOf(MLIRContext *context, StringRef scope, StringRef key) {
  const checkpoint::Tensor *tensor = ParameterStore::get(context).lookup(scope, key);
  if (!tensor || !tensor->data)
    return std::nullopt;
  switch (tensor->dtype) {
  case DType::F32:
    return read<float>(*tensor);
  case DType::F64:
    return read<double>(*tensor);
  case DType::I64:
    return static_cast<double>(read<int64_t>(*tensor));
  case DType::I32:
    return read<int32_t>(*tensor);
  default:
    return std::nullopt;
  }
}

static std::optional<double> constantNode(onnxir::NodeOp node) {
  if (auto number = dyn_cast_or_null<FloatAttr>(node.getNodeAttr("value_float")))
    return number.getValueAsDouble();
  if (auto tensor = dyn_cast_or_null<onnxir::TensorAttr>(node.getNodeAttr("value")))
    return contentsOf(node.getContext(), tensor.getScope(), tensor.getKey());
  return std::nullopt;
}

static std::optional<double> evaluate(Value value, unsigned depth) {
  RankedTensorType type = tensorOf(value);
  if (!type || !type.hasStaticShape() || type.getNumElements() != 1)
    return std::nullopt;
  if (std::optional<SmallVector<int64_t>> integers = constantsOf(value); integers && integers->size() == 1)
    return static_cast<double>(integers->front());
  if (auto parameter = value.getDefiningOp<ParameterOp>())
    return contentsOf(value.getContext(), parameter.getScope(), parameter.getKey());
  auto node = value.getDefiningOp<onnxir::NodeOp>();
  if (!node || !depth || (!node.getDomain().empty() && node.getDomain() != "ai.onnx"))
    return std::nullopt;
  StringRef kind = node.getOpType();
  if (kind == "Constant")
    return constantNode(node);
  auto operand = [&](unsigned index) -> std::optional<double> {
    Value given = node.getInputOrNull(index);
    return given ? evaluate(given, depth - 1) : std::nullopt;
  };
  bool isSame =
      kind == "Identity" || kind == "Cast" || kind == "Reshape" || kind == "Squeeze" || kind == "Unsqueeze";
  if (!isSame && kind != "Sqrt" && kind != "Reciprocal" && kind != "Mul" && kind != "Div")
    return std::nullopt;
  // An integer that is cast to makes another number of a fraction.
  if (!isa<FloatType>(type.getElementType()))
    return std::nullopt;
  std::optional<double> x = operand(0);
  if (!x || isSame)
    return x;
  if (kind == "Sqrt")
    return std::sqrt(*x);
  if (kind == "Reciprocal")
    return 1 / *x;
  std::optional<double> y = operand(1);
  if (!y)
    return std::nullopt;
  return kind == "Mul" ? *x * *y : *x / *y;
}

std::optional<double> adapter::scalarOf(Value value) {
  return value ? evaluate(value, maxDepth) : std::nullopt;
}
