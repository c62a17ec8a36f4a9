// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What names prove, once all nodes of a graph are known, and parameters of weights that a graph holds as nodes.
#include "lib/Attach/ModuleTable.h"
#include "lib/Attach/OperandRoles.h"
#include "lib/Support/ParameterStore.h"
#include "llvm/ADT/SetVector.h"
#include <algorithm>

using namespace mlir;
using namespace adapter;

static StringRef operatorOf(const ModuleParameter &parameter) {
  return const_cast<onnxir::NodeOp &>(parameter.uses.front().node).getOpType();
}

// A weight under another parameter's name is one that was merged with it only where that parameter is read by the same
// operator: a norm's weight of ones and a constant 1 + weight of zeros are equal too. And where a module has a tensor
// under its own name, what else stands in such a place is no parameter: GroupNorm is written as a normalisation by ones
// and zeros, then the product with its weight.
void ModuleTable::settleNaming() {
  std::map<Operation *, std::vector<const ModuleParameter *>> owners;
  forEach([&](ModuleParameter &each) {
    if (each.naming == Naming::Own)
      owners[each.value].push_back(&each);
  });
  for (auto &[path, parameters] : table) {
    std::map<std::string, Naming> best;
    for (auto &each : parameters) {
      if (each->kind != SiteKind::Vector)
        continue;
      auto isLike = [&](const ModuleParameter *owner) { return operatorOf(*owner) == operatorOf(*each); };
      if (each->naming == Naming::Shared && each->parameter == "weight" && !each->isStructural &&
          !llvm::any_of(owners[each->value], isLike))
        each->naming = Naming::Made;
      auto [known, isFirst] = best.try_emplace(each->parameter, each->naming);
      known->second = std::min(known->second, each->naming);
    }
    llvm::erase_if(parameters, [&](const auto &each) {
      return each->kind == SiteKind::Vector && !each->isStructural && each->naming > best.at(each->parameter);
    });
  }
}

// In a module with one product its constant operand is the weight, whatever it is called.
void ModuleTable::nameOnlyProducts() {
  // torch's MultiheadAttention calls a weight of its own so, and adapters name it.
  static constexpr StringRef packedWeight = "in_proj_weight";
  for (auto &[path, parameters] : table) {
    llvm::SetVector<Operation *> products;
    for (auto &each : parameters)
      if (each->kind != SiteKind::Vector)
        products.insert(each->value);
    if (products.size() != 1 || !find(path, "weight").empty())
      continue;
    for (auto &each : parameters)
      if (each->kind != SiteKind::Vector && each->parameter != packedWeight)
        each->alias = "weight";
  }
}

// Whether a node, or one behind nodes that only rearrange, takes the value as a parameter.
static bool isReadAsParameter(Value value) {
  return llvm::any_of(value.getUses(), [](OpOperand &use) {
    auto node = dyn_cast<onnxir::NodeOp>(use.getOwner());
    if (!node || !isKnownDomain(node))
      return false;
    if (onlyRearranges(node))
      return use.getOperandNumber() == 0 && isReadAsParameter(node->getResult(0));
    return roleOf(node, use.getOperandNumber()).has_value();
  });
}

void adapter::raiseConstants(onnxir::ModelOp model) {
  ParameterStore &store = ParameterStore::get(model.getContext());
  SmallVector<onnxir::NodeOp> constants;
  model->walk([&](onnxir::NodeOp node) {
    if (node.getOpType() == "Constant" && node.getDomain().empty() && node->getNumResults() == 1 &&
        isa_and_nonnull<onnxir::TensorAttr>(node.getNodeAttr("value")))
      constants.push_back(node);
  });
  for (onnxir::NodeOp node : constants) {
    auto value = cast<onnxir::TensorAttr>(node.getNodeAttr("value"));
    auto type = dyn_cast<RankedTensorType>(value.getType());
    const checkpoint::Tensor *contents = store.lookup(value.getScope(), value.getKey());
    // Numbers without dimensions are what graphs compute with.
    if (!type || type.getRank() == 0 || !isa<FloatType>(type.getElementType()) || !contents ||
        node->getParentOfType<onnxir::FunctionOp>() || !isReadAsParameter(node->getResult(0)))
      continue;
    OpBuilder builder(node);
    std::string name = cast<StringAttr>(node.getResultNames()[0]).str(), key = name;
    for (int i = 1; store.lookup(value.getScope(), key); ++i)
      key = name + "_" + std::to_string(i);
    checkpoint::Tensor tensor = *contents;
    store.set(value.getScope(), key, std::move(tensor));
    auto parameter = ParameterOp::create(builder, NameLoc::get(builder.getStringAttr(key)), type,
                                         builder.getStringAttr(value.getScope()), builder.getStringAttr(key),
                                         ElementsAttr(), StringAttr());
    node->getResult(0).replaceAllUsesWith(parameter.getResult());
    node->erase();
  }
}
