// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Module paths of nodes, from what exporters of PyTorch leave, and parameters behind operands. See
// docs/exports.md.
#include "lib/Attach/ModuleTable.h"
#include "mlir/IR/BuiltinAttributes.h"

using namespace mlir;
using namespace adapter;

// The strings of a Python list of strings.
static std::vector<std::string> parsePythonList(StringRef text) {
  std::vector<std::string> result;
  for (size_t i = 0; i < text.size(); ++i) {
    char quote = text[i];
    if (quote != '\'' && quote != '"')
      continue;
    std::string item;
    for (++i; i < text.size() && text[i] != quote; ++i) {
      if (text[i] == '\\' && i + 1 < text.size())
        ++i;
      item += text[i];
    }
    result.push_back(std::move(item));
  }
  return result;
}

// ['', 'model', 'model.head', 'linear_3']: the last is the operation, the one before it the module.
static std::string pathFromScopes(StringRef scopes) {
  std::vector<std::string> names = parsePythonList(scopes);
  if (names.size() < 2 || StringRef(names[names.size() - 2]).starts_with("_empty_nn_module"))
    return "";
  return names[names.size() - 2];
}

// "/model/layers.0/self_attn/q_proj/MatMul". ONNX Runtime's optimiser puts what it did behind the node's own name:
// "/model/layers.0/fc/MatMul/MatMulAddFusion".
static std::string pathFromNodeName(StringRef name) {
  if (!name.consume_front("/"))
    return "";
  if (name.ends_with("Fusion"))
    name = name.rsplit('/').first;
  auto [path, operation] = name.rsplit('/');
  if (operation.empty())
    return "";
  std::string result = path.str();
  std::replace(result.begin(), result.end(), '/', '.');
  return result;
}

static constexpr StringRef scopesKey = "pkg.torch.onnx.name_scopes";

bool adapter::hasModuleMetadata(onnxir::NodeOp node) {
  return !pathFromScopes(node.getMetadataValue(scopesKey)).empty();
}

std::string adapter::modulePathOf(onnxir::NodeOp node) {
  std::string path = pathFromScopes(node.getMetadataValue(scopesKey));
  if (path.empty() && node.getNodeName())
    path = pathFromNodeName(*node.getNodeName());
  return path;
}

std::string adapter::nodeNameOf(onnxir::NodeOp node) {
  if (node.getNodeName() && !node.getNodeName()->empty())
    return node.getNodeName()->str();
  return node.getResultNames().empty() ? "" : cast<StringAttr>(node.getResultNames()[0]).str();
}

// Sizes without those that are 1.
static SmallVector<int64_t> squeezed(ArrayRef<int64_t> shape) {
  SmallVector<int64_t> result;
  llvm::copy_if(shape, std::back_inserter(result), [](int64_t size) { return size != 1; });
  return result;
}

static bool isMatrixTransposition(onnxir::NodeOp node, size_t rank) {
  auto permutation = dyn_cast_or_null<DenseI64ArrayAttr>(node.getNodeAttr("perm"));
  return rank == 2 && (!permutation || permutation.asArrayRef() == ArrayRef<int64_t>{1, 0});
}

bool adapter::onlyRearranges(onnxir::NodeOp node) {
  static constexpr llvm::StringLiteral types[] = {"Cast",    "Identity",  "Reshape",
                                                  "Squeeze", "Transpose", "Unsqueeze"};
  return node.getDomain().empty() && llvm::is_contained(types, node.getOpType());
}

ParameterOp adapter::parameterBehind(Value value, ParameterUse &use, bool &transposed) {
  while (auto node = value.getDefiningOp<onnxir::NodeOp>()) {
    if (!onlyRearranges(node) || node.getInputs().empty() || node.getNumResults() != 1)
      return {};
    use.chain.insert(use.chain.begin(), node);
    value = node.getInputs().front();
  }
  auto parameter = value.getDefiningOp<ParameterOp>();
  auto type = parameter ? dyn_cast<RankedTensorType>(parameter.getType()) : RankedTensorType();
  if (!type || !isa<FloatType>(type.getElementType()) || !type.hasStaticShape())
    return {};
  // Shapes are followed from the parameter on: some exporters write none in between.
  SmallVector<int64_t> shape(type.getShape());
  for (onnxir::NodeOp node : use.chain) {
    StringRef operation = node.getOpType();
    if (operation == "Identity" || operation == "Cast")
      continue;
    if (operation == "Transpose") {
      if (!isMatrixTransposition(node, shape.size()))
        return {};
      transposed = !transposed;
      std::swap(shape[0], shape[1]);
      continue;
    }
    auto after = dyn_cast<RankedTensorType>(node.getResult(0).getType());
    if (!after || squeezed(after.getShape()) != squeezed(shape))
      return {};
    // [1, n] as [n, 1] is the transpose.
    if (shape.size() == 2 && after.getRank() == 2 && after.getShape() != ArrayRef<int64_t>(shape))
      transposed = !transposed;
    shape.assign(after.getShape().begin(), after.getShape().end());
  }
  // A matrix arrives as one; of a vector only the elements' order counts.
  if (squeezed(shape).size() > 1 && static_cast<int64_t>(shape.size()) != type.getRank())
    return {};
  return parameter;
}
