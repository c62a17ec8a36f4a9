// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Whether mixtures fit: their factors a linear, their routers a value that is there; see Mixtures.h.
#include "lib/Attach/FormUse.h"
#include "lib/Attach/Match.h"
#include "lib/Attach/Mixtures.h"
#include "lib/Checkpoint/DType.h"

using namespace mlir;
using namespace adapter;
using checkpoint::Route;
using checkpoint::shapeText;
using checkpoint::Tensor;
using checkpoint::Update;

bool adapter::actsBehindMixtures(const Update &update, const ModuleParameter &parameter) {
  return update.mixture.has_value() || traitsOf(update, parameter).adds;
}

// The linear whose input a router reads.
const ModuleParameter *adapter::findRouterInput(const Update &update, const ModuleParameter &parameter,
                                                const ModuleTable &table) {
  if (update.routerInput.empty())
    return &parameter;
  Match match = matchModule(table, update.routerInput, "weight");
  return match.found.size() == 1 && match.found.front()->kind == SiteKind::Linear ? match.found.front()
                                                                                  : nullptr;
}

static std::string whyNodeUnfit(onnxir::NodeOp node) {
  std::string name = " (" + (node.getNodeName() ? node.getNodeName()->str() : node.getOpType().str()) + ")";
  auto number = [&](StringRef attribute, double otherwise) {
    auto value = dyn_cast_or_null<FloatAttr>(node.getNodeAttr(attribute));
    return value ? value.getValueAsDouble() : otherwise;
  };
  auto flag = dyn_cast_or_null<IntegerAttr>(node.getNodeAttr("transA"));
  if (node.getOpType() != "MatMul" && node.getOpType() != "Gemm")
    return "a mixture acts beside a MatMul or Gemm, but the graph has a " + node.getOpType().str() + name;
  if ((flag && flag.getInt()) || number("alpha", 1) != 1 || number("beta", 1) != 1)
    return "the graph's Gemm is more than a linear layer: it scales or transposes its input" + name;
  if (node.getOpsetVersion() < 13)
    return "a mixture needs operator set 13; export with opset 13 or newer";
  return "";
}

// Whether a value is there when an operation of the same block runs.
static bool isBefore(Value value, Operation *op) {
  Operation *source = value.getDefiningOp();
  return !source || (source->getBlock() == op->getBlock() && source->isBeforeInBlock(op));
}

static std::string whyRouterUnfit(const Update &update, const Route &route, const ModuleParameter &parameter,
                                  const ModuleTable &table) {
  const ModuleParameter *reads = findRouterInput(update, parameter, table);
  if (!reads)
    return "its router reads the input of '" + update.routerInput + "', which is no linear of the graph";
  if (reads->uses.size() != parameter.uses.size())
    return "its router reads the input of '" + update.routerInput +
           "', which the graph runs another number of times";
  auto router = update.tensors.find("router");
  if (router != update.tensors.end() && router->second.shape[1] != reads->shape[1])
    return "'" + router->second.key + "' has shape " + shapeText(router->second.shape) +
           ", but its input has width " + std::to_string(reads->shape[1]);
  for (size_t i = 0; i < reads->uses.size(); ++i) {
    Value input = const_cast<onnxir::NodeOp &>(reads->uses[i].node)->getOperand(0);
    if (!isBefore(input, parameter.uses[i].node))
      return "its router reads the input of '" + update.routerInput + "', which the graph computes later";
    auto type = dyn_cast<RankedTensorType>(input.getType());
    if (route.scope == checkpoint::RouteScope::Sequence && (!type || type.getRank() != 3))
      return "its router reads the mean over a sequence, but its input is not known to be [batch, sequence, "
             "width]; "
             "the exporter flattened it, or left its shape out";
  }
  return "";
}

static std::string whyClassifierUnfit(const PlannedUpdate &planned, const ModuleParameter &parameter,
                                      const ModuleTable &table) {
  const checkpoint::Classifier &classifier = *planned.adapter->contents.classifier;
  checkpoint::Result<Value> hidden = findHiddenState(table, classifier.layers.front().first.shape[1]);
  if (!hidden)
    return hidden.error().message;
  for (const ParameterUse &use : parameter.uses) {
    Value input = const_cast<onnxir::NodeOp &>(use.node)->getOperand(0);
    auto type = dyn_cast<RankedTensorType>(input.getType());
    auto source = input.getDefiningOp<onnxir::NodeOp>();
    bool isFlat = type && type.getRank() == 2 && source && source.getOpType() == "Reshape";
    if (!type || (type.getRank() != 3 && !isFlat))
      return "its experts are weighed token by token, but the input of the graph's linear (" +
             parameter.nodeName() + ") is not known to be [batch, sequence, width]";
  }
  return "";
}

std::string adapter::whyMixtureUnfit(const PlannedUpdate &planned, const ModuleParameter &parameter,
                                     const ModuleTable &table) {
  const Update &update = *planned.update;
  BindingTime time = planned.adapter->time;
  if (time == BindingTime::Switch || time == BindingTime::Load)
    return "a mixture has a gate for each token, and a switch only writes weights; bind it at build, call or "
           "row";
  if (planned.adapter->request->byToken)
    return "whether a mixture acts can differ by row, not by token; bind it at row";
  if (parameter.kind != SiteKind::Linear)
    return "its experts are for linears, but the graph has a " + stringifySiteKind(parameter.kind).str();
  if (!cast<RankedTensorType>(const_cast<ParameterOp &>(parameter.value).getType()).getElementType().isF32())
    return "a mixture acts on float32, but the graph has another type there";
  const Tensor &a = update.tensors.at("A"), &b = update.tensors.at("B");
  if (a.shape[1] != parameter.shape[1] || b.shape[0] != parameter.shape[0])
    return "its experts' factors are " + shapeText(a.shape) + " and " + shapeText(b.shape) +
           ", but the graph's linear is " +
           shapeText(std::vector<int64_t>(parameter.shape.begin(), parameter.shape.end())) + " (" +
           parameter.nodeName() + ")";
  for (const ParameterUse &use : parameter.uses) {
    if (use.operand != 1)
      return "a mixture acts on a weight that is multiplied from the right";
    if (std::string why = whyNodeUnfit(use.node); !why.empty())
      return why;
  }
  if (update.mixture->classified)
    return whyClassifierUnfit(planned, parameter, table);
  return whyRouterUnfit(update, update.mixture->route, parameter, table);
}

// Routers over more than a token have to know the dimensions of values, of which exporters may say nothing.
bool adapter::needsRanks(const checkpoint::Adapter &adapter) {
  return llvm::any_of(adapter.updates, [](const Update &update) {
    const std::optional<checkpoint::Mixture> &mixture = update.mixture;
    return mixture && (mixture->classified || mixture->route.scope == checkpoint::RouteScope::Sequence);
  });
}

// A first pass knows one mixture, whose experts have one weight there.
checkpoint::Status adapter::checkFirstPasses(const AttachPlan &plan) {
  auto isMixture = [](const auto &adapter) {
    return llvm::any_of(adapter->contents.updates,
                        [](const Update &update) { return update.mixture.has_value(); });
  };
  for (const auto &adapter : plan.adapters)
    for (const auto &other : plan.adapters)
      if (adapter->contents.classifier && other != adapter && isMixture(other))
        return checkpoint::Error{"adapter '" + adapter->request->name +
                                 "' weighs its experts by a first pass, in which the mixture '" +
                                 other->request->name + "' has no part; bind one of them"};
  return checkpoint::Done{};
}
