// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which operand of which operator is what to its module, and how it lies there.
#include "lib/Attach/ModuleTable.h"
#include "lib/Checkpoint/Adapter.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Support/ParameterStore.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace adapter;

onnxir::ModelOp ModuleParameter::model() const {
  return uses.front().node->getParentOfType<onnxir::ModelOp>();
}

static std::string nameOf(onnxir::NodeOp node) {
  if (node.getNodeName() && !node.getNodeName()->empty())
    return node.getNodeName()->str();
  return node.getResultNames().empty() ? "" : cast<StringAttr>(node.getResultNames()[0]).str();
}

bool ModuleParameter::grouped() const {
  for (const ParameterUse &use : uses)
    if (auto group =
            dyn_cast_or_null<IntegerAttr>(const_cast<onnxir::NodeOp &>(use.node).getNodeAttr("group"));
        group && group.getInt() != 1)
      return true;
  return false;
}

std::string ModuleParameter::nodeName() const { return nameOf(uses.front().node); }

//===----------------------------------------------------------------------===//
// Roles of operands
//===----------------------------------------------------------------------===//

namespace {
// What an operand is; `parameter` is its usual name.
struct Role {
  SiteKind kind;
  const char *parameter;
  bool transposed = false;       // the operand is [in, out]
  bool storedTransposed = false; // so is the module's own tensor
};
} // namespace

static int64_t integerAttr(onnxir::NodeOp node, StringRef name, int64_t otherwise) {
  auto attribute = dyn_cast_or_null<IntegerAttr>(node.getNodeAttr(name));
  return attribute ? attribute.getInt() : otherwise;
}

static std::optional<Role> roleOf(onnxir::NodeOp node, unsigned operand) {
  StringRef type = node.getOpType();
  bool attention = type == "Attention" && node.getDomain() == "com.microsoft";
  if ((type == "MatMul" || attention) && operand == 1)
    return Role{SiteKind::Linear, "weight", true};
  if (attention && operand == 2)
    return Role{SiteKind::Vector, "bias"};
  if (type == "FusedMatMul" && operand == 1)
    return Role{SiteKind::Linear, "weight", integerAttr(node, "transB", 0) == 0};
  if (type == "Gemm" && operand == 1) {
    // nn.Linear is exported with transB, GPT-2's Conv1D without.
    bool transposed = integerAttr(node, "transB", 0) == 0;
    return Role{SiteKind::Linear, "weight", transposed, transposed};
  }
  if (type == "Gemm" && operand == 2)
    return Role{SiteKind::Vector, "bias"};
  if (type == "Conv" && operand > 0)
    return operand == 1 ? Role{SiteKind::Convolution, "weight"} : Role{SiteKind::Vector, "bias"};
  if (type == "Gather" && operand == 0 && integerAttr(node, "axis", 0) == 0)
    return Role{SiteKind::Embedding, "weight"};
  bool norm = llvm::StringSwitch<bool>(type)
                  .Cases({"LayerNormalization", "GroupNormalization", "InstanceNormalization"}, true)
                  .Cases({"RMSNormalization", "SimplifiedLayerNormalization", "BatchNormalization"}, true)
                  .Default(false);
  if (type == "SkipLayerNormalization" || type == "SkipSimplifiedLayerNormalization") {
    if (operand == 2)
      return Role{SiteKind::Vector, "weight"};
    return operand == 3 && type == "SkipLayerNormalization" ? std::optional(Role{SiteKind::Vector, "bias"})
                                                            : std::nullopt;
  }
  if (norm && (operand == 1 || operand == 2))
    return Role{SiteKind::Vector, operand == 1 ? "weight" : "bias"};
  if (type == "Mul")
    return Role{SiteKind::Vector, "weight"};
  if (type == "Add")
    return Role{SiteKind::Vector, "bias"};
  return std::nullopt;
}

// What the initialiser's own name says: module and parameter.
static std::pair<std::string, std::string> splitKey(StringRef key) {
  auto [path, parameter] = key.rsplit('.');
  if (parameter.empty())
    return {"", ""};
  // Names that graph builders make: "layers.0.attn.q_proj.MatMul.weight".
  for (StringRef operation : {".MatMul", ".Add", ".Gemm"})
    if (path.ends_with(operation))
      path = path.drop_back(operation.size());
  return {path.str(), parameter.str()};
}

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
  model->walk([&](onnxir::NodeOp node) { readNode(node); });
  joinRepeatedCalls();
}

void ModuleTable::add(ModuleParameter entry, const ParameterUse &use) {
  Parameters &parameters = entry.module.empty() ? unnamed : table[entry.module];
  for (auto &known : parameters)
    if (known->parameter == entry.parameter && known->value == entry.value && known->kind == entry.kind &&
        known->transposed == entry.transposed) {
      known->uses.push_back(use);
      return;
    }
  entry.uses.push_back(use);
  parameters.push_back(std::make_unique<ModuleParameter>(std::move(entry)));
}

// Whether an exporter computed a convolution's operand, to which it then gives a name that is not the
// module's: batch norms are folded into the convolutions before them. TorchScript names such tensors
// "onnx::Conv_66"; dynamo keeps the weight's name but says that the node is the norm's.
static bool isFolded(onnxir::NodeOp node, const std::string &path, StringRef key, StringRef keyModule,
                     bool keyAgrees) {
  if (node.getOpType() != "Conv" || path.empty() || keyAgrees)
    return false;
  if (key.starts_with("onnx::Conv_"))
    return true;
  StringRef scopes = node.getMetadataValue("pkg.torch.onnx.name_scopes");
  return !keyModule.empty() && scopes.contains("batch_norm");
}

void ModuleTable::readNode(onnxir::NodeOp node) {
  // What only rearranges a parameter is on the way to the node that uses it.
  if ((!node.getDomain().empty() && node.getDomain() != "com.microsoft") || onlyRearranges(node))
    return;
  std::string path = modulePathOf(node);
  for (unsigned operand = 0; operand < node.getInputs().size(); ++operand) {
    ParameterUse use{node, operand, {}};
    bool flipped = false;
    ParameterOp parameter = parameterBehind(node.getInputs()[operand], use, flipped);
    if (!parameter)
      continue;
    auto type = cast<RankedTensorType>(parameter.getType());
    std::optional<Role> role = roleOf(node, operand);
    auto [keyModule, keyParameter] = splitKey(parameter.getKey());
    bool keyAgrees = !keyModule.empty() && (path.empty() || checkpoint::pathsMatch(keyModule, path));
    if (!role && !keyAgrees)
      continue;
    bool matrix = role && (role->kind == SiteKind::Linear || role->kind == SiteKind::Embedding);
    if ((matrix && type.getRank() != 2) ||
        (role && role->kind == SiteKind::Convolution && type.getRank() < 3) || type.getNumElements() < 2)
      continue;
    ModuleParameter entry;
    entry.module = path.empty() ? keyModule : path;
    if (entry.module.empty() && !role)
      continue;
    entry.folded = isFolded(node, path, parameter.getKey(), keyModule, keyAgrees);
    if (entry.folded && operand == 1 && !keyModule.empty())
      entry.module = keyModule;
    // A tensor under its own name says which parameter it is; where exporters merged or renamed it, the
    // operator does.
    entry.parameter = keyAgrees ? keyParameter : role->parameter;
    entry.kind = role ? role->kind : SiteKind::Vector;
    entry.value = parameter;
    if (matrix) {
      entry.transposed = role->transposed != flipped;
      // A MatMul that reads a tensor under its own name reads it as the module holds it.
      bool own = keyAgrees && node.getOpType() == "MatMul";
      entry.storedTransposed = own ? entry.transposed : role->storedTransposed;
    }
    entry.shape = logicalShape(parameter, entry.kind, entry.transposed);
    add(std::move(entry), use);
  }
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
      if (each->parameter == parameter)
        result.push_back(each.get());
  return result;
}

//===----------------------------------------------------------------------===//
// Biases that the graph lacks
//===----------------------------------------------------------------------===//

ModuleParameter *ModuleTable::findBiasless(const std::string &module) const {
  if (!find(module, "bias").empty())
    return nullptr;
  for (ModuleParameter *weight : find(module, "weight")) {
    StringRef type = weight->uses.front().node.getOpType();
    if (weight->kind == SiteKind::Linear || type == "Conv" || type == "LayerNormalization")
      return weight;
  }
  return nullptr;
}

// A parameter of zeros, under a name that is not taken.
static ParameterOp zeroParameter(ParameterOp like, const std::string &key, int64_t size) {
  OpBuilder builder(like);
  ParameterStore &store = ParameterStore::get(like.getContext());
  auto type = RankedTensorType::get(size, cast<RankedTensorType>(like.getType()).getElementType());
  std::string unique = key;
  for (int i = 1; store.lookup(like.getScope(), unique); ++i)
    unique = key + "_" + std::to_string(i);
  checkpoint::Tensor zeros = checkpoint::allocateTensor(dtypeOf(type.getElementType()), {size});
  zeros.key = unique;
  store.set(like.getScope(), unique, zeros);
  return ParameterOp::create(builder, NameLoc::get(builder.getStringAttr(unique)), type, like.getScopeAttr(),
                             builder.getStringAttr(unique), ElementsAttr(), StringAttr());
}

// An Add behind a node without a bias operand; its second operand is the bias.
static onnxir::NodeOp addBehind(onnxir::NodeOp node, Value bias) {
  OpBuilder builder(node->getContext());
  builder.setInsertionPointAfter(node);
  Value result = node.getResult(0);
  OperationState state(node.getLoc(), onnxir::NodeOp::getOperationName());
  state.addOperands({result, bias});
  state.addTypes(result.getType());
  std::string name = cast<StringAttr>(node.getResultNames()[0]).str();
  state.addAttribute("op_type", builder.getStringAttr("Add"));
  state.addAttribute("result_names", builder.getStrArrayAttr({name + "_biased"}));
  state.addAttribute("node_name", builder.getStringAttr(nameOf(node) + "_bias"));
  if (auto metadata = node.getMetadataAttr())
    state.addAttribute("metadata", metadata);
  auto add = cast<onnxir::NodeOp>(builder.create(state));
  result.replaceAllUsesExcept(add.getResult(0), add);
  return add;
}

ModuleParameter *ModuleTable::addBias(ModuleParameter &weight) {
  ParameterOp zeros = zeroParameter(weight.value, weight.module + ".bias", weight.shape[0]);
  ModuleParameter entry;
  entry.module = weight.module;
  entry.parameter = "bias";
  entry.value = zeros;
  entry.shape = {weight.shape[0]};
  for (ModuleParameter *each : find(weight.module, "weight"))
    for (ParameterUse &use : each->uses) {
      if (use.node.getOpType() == "MatMul") {
        add(entry, ParameterUse{addBehind(use.node, zeros), 1, {}});
        continue;
      }
      // A bias that is left out is behind the end of the operands or an onnx.absent.
      if (use.node.getInputs().size() > 2)
        use.node->setOperand(2, zeros);
      else
        use.node->insertOperands(2, zeros.getResult());
      add(entry, ParameterUse{use.node, 2, {}});
    }
  return find(weight.module, "bias").front();
}
