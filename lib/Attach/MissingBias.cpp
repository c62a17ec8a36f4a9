// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Biases that an adapter trains and the graph lacks.
#include "lib/Attach/ModuleTable.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Support/ParameterStore.h"

using namespace mlir;
using namespace adapter;

// Whether an Add behind the node's result is what a bias of its module would be.
static bool takesAdd(onnxir::NodeOp node) {
  auto alpha = dyn_cast_or_null<FloatAttr>(node.getNodeAttr("alpha"));
  return node.getOpType() == "MatMul" ||
         (node.getOpType() == "FusedMatMul" && (!alpha || alpha.getValueAsDouble() == 1));
}

static bool takesBias(const ParameterUse &use) {
  StringRef type = const_cast<onnxir::NodeOp &>(use.node).getOpType();
  return takesAdd(use.node) || type == "Gemm" || type == "FusedGemm" || type == "Conv" ||
         type == "FusedConv" || type == "LayerNormalization";
}

ModuleParameter *ModuleTable::findBiasless(const std::string &module) const {
  if (!find(module, "bias").empty())
    return nullptr;
  for (ModuleParameter *weight : find(module, "weight"))
    if (llvm::all_of(weight->uses, takesBias))
      return weight;
  return nullptr;
}

// A parameter of zeros, under a name that is not taken. All nodes of the graph see it, those of branches and loops too.
static ParameterOp zeroParameter(ParameterOp like, const std::string &key, int64_t size) {
  OpBuilder builder(like);
  if (auto graph = like->getParentOfType<onnxir::GraphOp>(); graph && like->getParentOp() != graph)
    builder.setInsertionPointToStart(&graph.getBody().front());
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
  state.addAttribute("node_name", builder.getStringAttr(nodeNameOf(node) + "_bias"));
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
  entry.naming = Naming::Own;
  entry.isStructural = true;
  entry.evidence = weight.evidence;
  for (ModuleParameter *each : find(weight.module, "weight"))
    for (ParameterUse &use : each->uses) {
      if (takesAdd(use.node)) {
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
