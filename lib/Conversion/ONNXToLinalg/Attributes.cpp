// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Attributes of nodes as lowerings read them.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "lib/Conversion/ONNXToLinalg/Lowering.h"

using namespace mlir;
using namespace adapter;

int64_t adapter::intAttr(onnxir::NodeOp node, StringRef name, int64_t fallback) {
  auto attr = dyn_cast_or_null<IntegerAttr>(node.getNodeAttr(name));
  return attr ? attr.getInt() : fallback;
}

double adapter::floatAttr(onnxir::NodeOp node, StringRef name, double fallback) {
  auto attr = dyn_cast_or_null<FloatAttr>(node.getNodeAttr(name));
  return attr ? attr.getValueAsDouble() : fallback;
}

StringRef adapter::stringAttr(onnxir::NodeOp node, StringRef name, StringRef fallback) {
  auto attr = dyn_cast_or_null<StringAttr>(node.getNodeAttr(name));
  return attr ? attr.getValue() : fallback;
}

std::optional<SmallVector<int64_t>> adapter::intsAttr(onnxir::NodeOp node, StringRef name) {
  Attribute attr = node.getNodeAttr(name);
  if (auto dense = dyn_cast_or_null<DenseI64ArrayAttr>(attr))
    return SmallVector<int64_t>(dense.asArrayRef());
  return std::nullopt;
}

FailureOr<int64_t> adapter::normalizeAxis(onnxir::NodeOp node, int64_t axis, int64_t rank) {
  int64_t normal = axis < 0 ? axis + rank : axis;
  if (normal < 0 || normal >= std::max<int64_t>(rank, 1))
    return node.emitError() << describe(node) << ": axis " << axis << " is outside a tensor of rank " << rank;
  return normal;
}

std::string adapter::describe(onnxir::NodeOp node) {
  StringRef name = node.getNodeName().value_or("");
  if (name.empty() && !node.getResultNames().empty())
    name = cast<StringAttr>(node.getResultNames()[0]).getValue();
  return (node.getOpType() + " node '" + name + "'").str();
}

StringRef adapter::nameOf(Value value) {
  ArrayAttr names;
  unsigned number = 0;
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    if (auto graph = dyn_cast<onnxir::GraphOp>(argument.getOwner()->getParentOp()))
      names = graph.getInputNames();
    number = argument.getArgNumber();
  } else if (auto node = value.getDefiningOp<onnxir::NodeOp>()) {
    names = node.getResultNames();
    number = cast<OpResult>(value).getResultNumber();
  } else if (auto parameter = value.getDefiningOp<ParameterOp>()) {
    return parameter.getKey();
  }
  return names && number < names.size() ? cast<StringAttr>(names[number]).getValue() : StringRef();
}

std::string adapter::describeInput(onnxir::NodeOp node, unsigned index) {
  StringRef name = index < node->getNumOperands() ? nameOf(node->getOperand(index)) : StringRef();
  return name.empty() ? "input " + std::to_string(index) : ("tensor '" + name + "'").str();
}
