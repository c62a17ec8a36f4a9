// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Why a graph does not have what an adapter acts on, in words that say what to do.
#include "lib/Attach/Match.h"
#include "lib/Attach/Plan.h"
#include "lib/Checkpoint/Adapter.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include <set>

using namespace mlir;
using namespace adapter;
using checkpoint::Update;

// Whether an operator reads a weight of narrow integers.
static bool isQuantised(onnxir::NodeOp node) {
  return llvm::StringSwitch<bool>(node.getOpType())
      .Cases({"MatMulNBits", "MatMulBnb4", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"},
             true)
      .Cases({"QLinearMatMul", "QLinearConv", "ConvInteger", "QGemm", "QAttention", "QMoE"}, true)
      .Cases({"GatherBlockQuantized", "QEmbedLayerNormalization", "DynamicQuantizeLSTM"}, true)
      .Default(false);
}

// Whether a DequantizeLinear, perhaps behind nodes that only rearrange, makes the operand of a constant.
static bool isDequantised(Value value) {
  auto node = value.getDefiningOp<onnxir::NodeOp>();
  while (node && onlyRearranges(node) && !node.getInputs().empty())
    node = node.getInputs().front().getDefiningOp<onnxir::NodeOp>();
  return node && node.getOpType() == "DequantizeLinear" &&
         node.getInputs().front().getDefiningOp<ParameterOp>();
}

// The node by which the graph has the module with a quantised weight; "" where it has none.
static std::string findQuantised(onnxir::ModelOp model, const std::string &module) {
  std::string found;
  model->walk([&](onnxir::NodeOp node) {
    std::string path = modulePathOf(node);
    bool isIts = !path.empty() && checkpoint::pathsMatch(path, module);
    // A builder names the tensors of a quantised weight as it names the weight.
    for (Value input : node.getInputs())
      if (auto parameter = input.getDefiningOp<ParameterOp>(); parameter && !isIts)
        isIts = parameter.getKey().contains(module + ".");
    bool isNarrow = isQuantised(node) || (node.getInputs().size() > 1 && isDequantised(node.getInputs()[1]));
    if (!isIts || !isNarrow)
      return WalkResult::advance();
    found = node.getOpType().str() + " " + nodeNameOf(node);
    return WalkResult::interrupt();
  });
  return found;
}

// What kind of graph this is that it does not have the module; "" where nothing is special about it.
static std::string whySpecial(onnxir::ModelOp model, const ModuleTable &table, const std::string &module) {
  if (std::string node = findQuantised(model, module); !node.empty())
    return "the graph's weight there is quantised (" + node +
           "), and an adapter acts on the numbers before that; write an .adapt, where it acts beside them, "
           "or merge "
           "it first and quantise the result";
  for (const auto &[path, parameters] : table.modules())
    if (StringRef(path).ends_with(".base_layer") &&
        checkpoint::pathsMatch(path.substr(0, path.size() - StringRef(".base_layer").size()), module))
      return "the graph has '" + path +
             "', so it was exported with an adapter inside; export the base model without it "
             "(peft_model.unload(), or merge_and_unload() if that adapter is to stay)";
  for (auto function : model.getBody().front().getOps<onnxir::FunctionOp>())
    if (!function.getBody().front().getOps<onnxir::NodeOp>().empty())
      return "the graph's operators are in local functions ('" + function.getSymName().str() +
             "'), into which adapters are not attached; export without export_modules_as_functions, or "
             "inline them: "
             "onnx.inliner.inline_local_functions(model)";
  return "";
}

Missing adapter::whyMissing(const AttachPlan &plan, const Update &update, bool hasBase) {
  std::set<std::string> others;
  std::string nearest;
  for (const auto &table : plan.tables) {
    if (std::string special = whySpecial(table->getModel(), *table, update.module); !special.empty())
      return {special};
    for (const std::string &name : parametersOf(*table, update.module))
      others.insert(name);
    for (const std::string &path : nearestModules(*table, update.module))
      nearest += (nearest.empty() ? "'" : ", '") + path + "'";
  }
  if (!others.empty()) {
    std::string list;
    for (const std::string &name : others)
      list += (list.empty() ? "'" : ", '") + name + "'";
    return {"the graph has the module but not this parameter; it has " + list};
  }
  std::string what = hasBase ? "the graph has no such module, neither by name nor by the base's contents"
                             : "the graph has no such module";
  if (!nearest.empty())
    what += "; the nearest are " + nearest;
  else if (!hasBase)
    what += "; it names no modules at all, --base CHECKPOINT finds them by contents";
  return {what, /*isPlain=*/true, /*hasNearest=*/!nearest.empty()};
}
