// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Expansion.h.
#include "lib/Conversion/ONNXToONNX/Expansion.h"

using namespace mlir;
using namespace adapter;

bool adapter::isOnnxDomain(StringRef domain) { return domain.empty() || domain == "ai.onnx"; }

static std::string nameOfNode(onnxir::NodeOp node) {
  std::string name = node.getNodeName().value_or("").str();
  return name.empty() ? cast<StringAttr>(node.getResultNames()[0]).str() : name;
}

Expansion::Expansion(onnxir::NodeOp node)
    : node(node), builder(node), nodes(builder, node.getLoc(), nameOfNode(node), "expanded") {
  nodes.version = version;
}

InFlightDiagnostic Expansion::error() { return node.emitError() << describe(node) << ": "; }

LogicalResult Expansion::requireAttribute(StringRef name, int64_t only) {
  int64_t value = integer(name, only);
  if (value == only)
    return success();
  return error() << "attribute '" << name << "' = " << value << " is not supported in compiled code";
}

LogicalResult Expansion::refuseInput(unsigned index, StringRef name) {
  if (!in(index))
    return success();
  return error() << "input '" << name << "' is not supported in compiled code";
}

LogicalResult Expansion::refuseResult(unsigned index, StringRef name) {
  if (!isUsed(index))
    return success();
  return error() << "result '" << name << "' is used, but not supported in compiled code";
}

LogicalResult Expansion::requireInputs(ArrayRef<unsigned> indices) {
  for (unsigned index : indices)
    if (!in(index))
      return error() << "input " << index << " is missing";
  return success();
}

//===----------------------------------------------------------------------===//
// Constants and sizes
//===----------------------------------------------------------------------===//

Value Expansion::size(Value x, int64_t dim) {
  Type i64 = builder.getI64Type();
  if (int64_t known = sizeOf(x, dim); !ShapedType::isDynamic(known))
    return whole(known);
  SmallVector<NamedAttribute> attributes{attribute("start", dim)};
  if (dim != -1)
    attributes.push_back(attribute("end", dim + 1));
  Value shape = make("Shape", x, RankedTensorType::get({1}, i64), attributes);
  return make("Squeeze", {shape, wholes({0})}, RankedTensorType::get({}, i64));
}

Value Expansion::counted(Value limit) {
  return make("Range", {whole(0), limit, whole(1)},
              RankedTensorType::get({ShapedType::kDynamic}, builder.getI64Type()));
}
