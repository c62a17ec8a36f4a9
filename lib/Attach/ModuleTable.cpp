// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which operand of which operator is what to its module, and how it lies there.
#include "lib/Attach/ModuleTable.h"
#include "lib/Attach/OperandRoles.h"
#include "lib/Checkpoint/Adapter.h"

using namespace mlir;
using namespace adapter;

onnxir::ModelOp ModuleParameter::model() const {
  return uses.front().node->getParentOfType<onnxir::ModelOp>();
}

int64_t ModuleParameter::groups() const {
  std::optional<int64_t> all;
  for (const ParameterUse &use : uses) {
    auto group = dyn_cast_or_null<IntegerAttr>(const_cast<onnxir::NodeOp &>(use.node).getNodeAttr("group"));
    int64_t own = group ? group.getInt() : 1;
    if (all && *all != own)
      return 0;
    all = own;
  }
  return all.value_or(1);
}

std::string ModuleParameter::nodeName() const { return nodeNameOf(uses.front().node); }

static SmallVector<int64_t> logicalShape(ParameterOp parameter, SiteKind kind, bool transposed) {
  auto type = cast<RankedTensorType>(parameter.getType());
  if (kind == SiteKind::Vector)
    return {type.getNumElements()};
  SmallVector<int64_t> shape(type.getShape());
  if (transposed)
    std::swap(shape[0], shape[1]);
  return shape;
}

//===----------------------------------------------------------------------===//
// The table
//===----------------------------------------------------------------------===//

ModuleTable::ModuleTable(onnxir::ModelOp model) : model(model) {
  model->walk<WalkOrder::PreOrder>([&](onnxir::NodeOp node) { readNode(node); });
  joinRepeatedCalls();
  settleNaming();
  nameOnlyProducts();
}

void ModuleTable::add(ModuleParameter entry, const ParameterUse &use) {
  // Nodes without names may be of several modules, also where they read one tensor.
  bool isNamed = !entry.module.empty();
  Parameters &parameters = isNamed ? table[entry.module] : unnamed;
  for (auto &known : parameters)
    if (isNamed && known->parameter == entry.parameter && known->value == entry.value &&
        known->kind == entry.kind && known->transposed == entry.transposed) {
      known->uses.push_back(use);
      return;
    }
  entry.uses.push_back(use);
  parameters.push_back(std::make_unique<ModuleParameter>(std::move(entry)));
}

// Whether a tool computed a product's operand from the module's parameter and a norm's: batch norms are folded into
// the convolutions before them. TorchScript and ONNX Runtime give such tensors names of their own; dynamo keeps the
// weight's name but says that the node is the norm's.
static bool isFolded(onnxir::NodeOp node, StringRef key, const TensorName &name, bool keyAgrees) {
  if (!isProduct(node))
    return false;
  if (isFoldedName(key))
    return true;
  StringRef scopes = node.getMetadataValue("pkg.torch.onnx.name_scopes");
  return !keyAgrees && !name.module.empty() && scopes.contains("batch_norm");
}

// The product whose result a node adds an operand to: an Add, or an operator into which ONNX Runtime fused one.
static onnxir::NodeOp productBefore(onnxir::NodeOp node, unsigned operand) {
  StringRef type = node.getOpType();
  SmallVector<unsigned, 2> others;
  if (type == "Add" && node.getInputs().size() == 2)
    others = {1 - operand};
  else if ((type == "BiasGelu" || type == "FastGelu") && operand == 1)
    others = {0};
  else if (type == "SkipLayerNormalization" && operand == 4)
    others = {0, 1};
  for (unsigned other : others) {
    auto before = node.getInputs()[other].getDefiningOp<onnxir::NodeOp>();
    while (before && onlyRearranges(before) && !before.getInputs().empty())
      before = before.getInputs().front().getDefiningOp<onnxir::NodeOp>();
    if (before && isProduct(before))
      return before;
  }
  return {};
}

// Whether a constant has one number for each output of a product, along the axis of the outputs.
static bool isAlongOutputs(RankedTensorType type, onnxir::NodeOp product) {
  int64_t axis = type.getRank() - 1;
  if (product.getOpType().ends_with("Conv")) {
    auto weight = dyn_cast<RankedTensorType>(product.getInputs()[1].getType());
    axis = weight ? type.getRank() - 1 - (weight.getRank() - 2) : -1;
  }
  for (int64_t dim = 0; dim < type.getRank(); ++dim)
    if (type.getDimSize(dim) != 1 && dim != axis)
      return false;
  return axis >= 0 || type.getNumElements() == 1;
}

// Whether an operator multiplies what it makes of the operand by a number.
static bool isScaledByOperator(onnxir::NodeOp node, unsigned operand) {
  if (!isProduct(node))
    return false;
  auto factor = dyn_cast_or_null<FloatAttr>(node.getNodeAttr(operand == 2 ? "beta" : "alpha"));
  return factor && factor.getValueAsDouble() != 1;
}

// torch's exporters leave a tensor its name only where they leave it as it is.
static bool isTorchExport(onnxir::ModelOp model) {
  return model.getExtra() && model.getExtra()->contains("producer_name: \"pytorch\"");
}

// The framework's own class of a module, where torch's default exporter wrote it down.
static bool isLinearClass(onnxir::NodeOp node) {
  auto [before, last] = node.getMetadataValue("namespace").rsplit('/');
  return before.ends_with("torch.nn.modules.linear.Linear");
}

// How the framework stores a matrix that the graph has as [in, out]. Under its own name it may be as the module has it
// (GPT-2's Conv1D, a bare parameter) or a transposed copy; under any other it is a copy, which nn.Linear needs.
static void settleOrientation(ModuleParameter &entry, onnxir::NodeOp node, const TensorName &name) {
  if (entry.kind != SiteKind::Linear || !entry.transposed)
    return;
  bool ownName = entry.naming == Naming::Own && !name.isBuilders && name.parameter == entry.parameter;
  bool isShared = entry.naming == Naming::Shared && node.getOpType() == "Gemm";
  if (isLinearClass(node) || (!ownName && !isShared))
    return;
  entry.storedTransposed = true;
  entry.orientationKnown = isTorchExport(node->getParentOfType<onnxir::ModelOp>());
}

// The rest of a tensor's path below a module of the graph: "out_proj" of "layers.0.attention.out_proj" in
// "model.layers.0.attention"; "" where it is not below it.
static std::string pathWithin(const std::string &path, const std::string &module) {
  for (size_t dot = path.find('.'); dot != std::string::npos && !module.empty();
       dot = path.find('.', dot + 1))
    if (checkpoint::pathsMatch(path.substr(0, dot), module))
      return path.substr(dot + 1);
  return "";
}

static bool namesOtherOperand(onnxir::NodeOp node, unsigned operand, StringRef parameter) {
  for (unsigned other = 0; other < node.getInputs().size(); ++other)
    if (std::optional<Role> role = roleOf(node, other);
        other != operand && role && role->parameter == parameter)
      return true;
  return false;
}

void ModuleTable::readNode(onnxir::NodeOp node) {
  // What only rearranges a parameter is on the way to the node that uses it.
  if (!isKnownDomain(node) || onlyRearranges(node))
    return;
  std::string path = modulePathOf(node);
  for (unsigned operand = 0; operand < node.getInputs().size(); ++operand)
    readOperand(node, operand, path);
}

void ModuleTable::readOperand(onnxir::NodeOp node, unsigned operand, std::string path) {
  ParameterUse use{node, operand, {}};
  bool flipped = false;
  ParameterOp parameter = parameterBehind(node.getInputs()[operand], use, flipped);
  if (!parameter)
    return;
  auto type = cast<RankedTensorType>(parameter.getType());
  std::optional<Role> role = roleOf(node, operand);
  // What is added to a product in a node that names no module is added in the product's.
  onnxir::NodeOp product = productBefore(node, operand);
  if (product && (path.empty() || node.getOpType() != "Add"))
    path = modulePathOf(product);
  onnxir::NodeOp adds = product ? product : node;
  bool isBias = role && StringRef(role->parameter) == "bias" && (product || isProduct(node));
  TensorName name = splitName(parameter.getKey());
  bool keyAgrees = !name.module.empty() && (path.empty() || checkpoint::pathsMatch(name.module, path));
  // Equal tensors of one module are merged too, under a name that says what another operand is.
  bool isMerged = keyAgrees && role && name.parameter != role->parameter &&
                  namesOtherOperand(node, operand, name.parameter);
  // torch's MultiheadAttention multiplies by the weight of its out_proj itself: that module does not run.
  std::string inner = keyAgrees ? "" : pathWithin(name.module, path);
  bool readByParent = !inner.empty() && role && name.parameter == role->parameter;
  keyAgrees |= readByParent;
  if (isBias && !isAlongOutputs(type, adds) && !keyAgrees)
    return;
  if (!role && !keyAgrees)
    return;
  bool isMatrix = role && (role->kind == SiteKind::Linear || role->kind == SiteKind::Embedding);
  if ((isMatrix && type.getRank() != 2) ||
      (role && role->kind == SiteKind::Convolution && type.getRank() < 3) || type.getNumElements() == 0)
    return;
  ModuleParameter entry;
  entry.module = path.empty() ? name.module : readByParent ? path + "." + inner : path;
  entry.isNamedByTensor = path.empty();
  entry.readByParent = readByParent;
  if (entry.module.empty() && !role)
    return;
  entry.isStructural = role && (role->isStructural || (product && modulePathOf(product) == path));
  entry.isScaled = isScaledByOperator(node, operand);
  // Numbers that a graph computes with stand everywhere; a parameter of one element needs more than its place.
  if (type.getNumElements() == 1 && !entry.isStructural && (!keyAgrees || type.getRank() == 0))
    return;
  entry.folded = isFolded(node, parameter.getKey(), name, keyAgrees);
  if (entry.folded && operand == 1 && !name.module.empty() && !isFoldedName(parameter.getKey()))
    entry.module = name.module;
  // A tensor under its own name says which parameter it is; where exporters merged or renamed it, the
  // operator does.
  // Whatever a tool calls the third operand of a product, it is the bias.
  bool isRenamed = keyAgrees && isBias && role->isStructural && name.parameter != role->parameter;
  isMerged |= isRenamed;
  bool isOther = isMerged || (role && name.parameter == role->parameter && !name.module.empty());
  entry.naming = keyAgrees && !isMerged ? Naming::Own : isOther ? Naming::Shared : Naming::Made;
  entry.evidence = hasModuleMetadata(node) ? Evidence::Metadata : Evidence::Names;
  entry.parameter = keyAgrees && !isMerged ? name.parameter : role->parameter;
  entry.kind = role ? role->kind : SiteKind::Vector;
  entry.value = parameter;
  if (isMatrix)
    entry.transposed = role->transposed != flipped;
  settleOrientation(entry, node, name);
  entry.shape = logicalShape(parameter, entry.kind, entry.transposed);
  add(std::move(entry), use);
}

void ModuleTable::forEach(llvm::function_ref<void(ModuleParameter &)> visit) const {
  for (const auto &[path, parameters] : table)
    for (const auto &parameter : parameters)
      visit(*parameter);
  for (const auto &parameter : unnamed)
    visit(*parameter);
}

std::vector<ModuleParameter *> ModuleTable::find(const std::string &module, StringRef parameter) const {
  std::vector<ModuleParameter *> result;
  auto found = table.find(module);
  if (found != table.end())
    for (auto &each : found->second)
      if (each->parameter == parameter || (!each->alias.empty() && each->alias == parameter))
        result.push_back(each.get());
  return result;
}

std::vector<ParameterUse> ModuleTable::readersOf(ParameterOp parameter) {
  std::vector<ParameterUse> readers;
  SmallVector<Value> work{parameter.getResult()};
  while (!work.empty())
    for (OpOperand &use : work.pop_back_val().getUses()) {
      auto node = dyn_cast<onnxir::NodeOp>(use.getOwner());
      if (!node || node.getOpType() == "Shape" || node.getOpType() == "Size")
        continue;
      if (onlyRearranges(node) && use.getOperandNumber() == 0)
        work.push_back(node->getResult(0));
      else if (!onlyRearranges(node))
        readers.push_back({node, use.getOperandNumber(), {}});
    }
  return readers;
}

bool ModuleParameter::isReadBy(const ParameterUse &reader) const {
  return llvm::any_of(uses, [&](const ParameterUse &use) {
    return use.node == reader.node && use.operand == reader.operand;
  });
}

std::string ModuleTable::unknownReader(const ModuleParameter &parameter) const {
  if (!parameter.value || parameter.kind == SiteKind::Vector)
    return "";
  for (ParameterUse &reader : readersOf(parameter.value)) {
    bool isKnown = parameter.isReadBy(reader);
    // A node without a name may be of this module, unless it reads the tensor as something else.
    forEach([&](ModuleParameter &entry) {
      isKnown |= entry.isReadBy(reader) && (!entry.module.empty() || entry.kind != parameter.kind);
    });
    std::string path = modulePathOf(reader.node);
    if (!isKnown && (path.empty() || path == parameter.module))
      return nodeNameOf(reader.node) + " (" + reader.node.getOpType().str() + ")";
  }
  return "";
}
