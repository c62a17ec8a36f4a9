// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Biases that an adapter trains and the graph lacks.
#include "lib/Attach/ModuleTable.h"
#include "lib/Attach/OperandRoles.h"
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
  onnxir::NodeOp node = use.node;
  StringRef type = node.getOpType();
  auto beta = dyn_cast_or_null<FloatAttr>(node.getNodeAttr("beta"));
  if (use.operand != 1 || (beta && beta.getValueAsDouble() != 1))
    return false;
  if (!takesAdd(node) && node.getInputOrNull(2))
    return false; // something is there already
  return takesAdd(use.node) || type == "Gemm" || type == "FusedGemm" || type == "Conv" ||
         type == "FusedConv" || type == "LayerNormalization";
}

ModuleParameter *ModuleTable::findBiasless(const std::string &module) const {
  if (!find(module, "bias").empty())
    return nullptr;
  std::vector<ModuleParameter *> weights = find(module, "weight");
  bool all =
      llvm::all_of(weights, [](ModuleParameter *weight) { return llvm::all_of(weight->uses, takesBias); });
  return all && !weights.empty() ? weights.front() : nullptr;
}

// A parameter of zeros, under a name that is not taken. All nodes of the graph see it, those of branches and loops too.
static ParameterOp zeroParameter(ParameterOp like, const std::string &key, ArrayRef<int64_t> shape,
                                 Type element) {
  OpBuilder builder(like);
  if (auto graph = like->getParentOfType<onnxir::GraphOp>(); graph && like->getParentOp() != graph)
    builder.setInsertionPointToStart(&graph.getBody().front());
  ParameterStore &store = ParameterStore::get(like.getContext());
  auto type = RankedTensorType::get(shape, element);
  std::string unique = key;
  for (int i = 1; store.lookup(like.getScope(), unique); ++i)
    unique = key + "_" + std::to_string(i);
  checkpoint::Tensor zeros = checkpoint::allocateTensor(dtypeOf(element), shape.vec());
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

// The type that a node computes in, where it reads a stored weight by way of a Cast.
static Type computedElement(const ParameterUse &use, Type stored) {
  onnxir::NodeOp node = use.node;
  auto result = dyn_cast<RankedTensorType>(node->getResult(0).getType());
  if (result && isa<FloatType>(result.getElementType()))
    return result.getElementType();
  for (onnxir::NodeOp each : llvm::reverse(use.chain))
    if (each.getOpType() == "Cast")
      if (Type type =
              elementTypeOf(static_cast<checkpoint::DType>(integerAttr(each, "to", 0)), stored.getContext()))
        return type;
  return stored;
}

ModuleParameter *ModuleTable::addBias(ModuleParameter &weight) {
  // Of the type that the product computes in, which need not be the stored weight's; a norm's bias is shaped as its weight.
  onnxir::NodeOp reader = weight.uses.front().node;
  auto stored = cast<RankedTensorType>(weight.value.getType());
  Type element = computedElement(weight.uses.front(), stored.getElementType());
  SmallVector<int64_t> shape{weight.shape[0]};
  if (reader.getOpType() == "LayerNormalization")
    shape.assign(stored.getShape().begin(), stored.getShape().end());
  ParameterOp zeros = zeroParameter(weight.value, weight.module + ".bias", shape, element);
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
