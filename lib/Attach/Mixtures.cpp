// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Mixtures.h. A router stands behind the value that it reads, so that all modules that share it come after it.
#include "lib/Attach/Mixtures.h"
#include "lib/Attach/Forms.h"
#include "lib/Attach/Match.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Support/ONNX/NodeBuilder.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace adapter;
using checkpoint::MixtureForm;
using checkpoint::Route;
using checkpoint::shapeText;
using checkpoint::Tensor;
using checkpoint::Update;

//===----------------------------------------------------------------------===//
// Whether it fits
//===----------------------------------------------------------------------===//

bool adapter::actsBehindMixtures(StringRef form) {
  return form == "lora" || form == "add" || form == "sparse" || checkpoint::isMixtureForm(form.str());
}

// The linear whose input a router reads.
static const ModuleParameter *findRouterInput(const Update &update, const ModuleParameter &parameter,
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
    if (route.scope == "sequence" && (!type || type.getRank() != 3))
      return "its router reads the mean over a sequence, but its input is not known to be [batch, sequence, "
             "width]; "
             "the exporter flattened it, or left its shape out";
  }
  return "";
}

std::string adapter::whyMixtureUnfit(const PlannedUpdate &planned, const ModuleParameter &parameter,
                                     const ModuleTable &table) {
  const Update &update = *planned.update;
  std::optional<MixtureForm> form = MixtureForm::parse(update.form);
  if (!form)
    return "the form '" + update.form + "' is not supported";
  BindingTime time = planned.adapter->time;
  if (time == BindingTime::Switch || time == BindingTime::Load)
    return "a mixture has a gate for each token, and a switch only writes weights; bind it at build";
  if (time != BindingTime::Build)
    return "a mixture can be bound at build only";
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
  return form->classified ? "" : whyRouterUnfit(update, form->route, parameter, table);
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

// What names of nodes that belong to an update begin with.
static std::string pathOf(const PlannedUpdate &planned, unsigned use) {
  std::string path = "/" + planned.update->module + "/" + planned.adapter->request->name;
  std::replace(path.begin(), path.end(), '.', '/');
  return path + (use ? "_" + std::to_string(use) : "");
}

static Value tensorOf(NodeBuilder &b, const Update &update, StringRef role) {
  return b.parameter(tensorKey(update, role), update.tensors.at(role.str()));
}

Value MixtureAttacher::logitsOf(NodeBuilder &b, const PlannedUpdate &planned, Value input, int64_t opset) {
  const Update &update = *planned.update;
  if (update.tensors.count("logits"))
    return tensorOf(b, update, "logits");
  if (MixtureForm::parse(update.form)->route.scope == "sequence")
    input = b.tokenMean(input, opset);
  Value logits = b.product(input, b.transposed(tensorOf(b, update, "router")));
  return update.tensors.count("router_bias") ? b.node("Add", {logits, tensorOf(b, update, "router_bias")})
                                             : logits;
}

MixtureAttacher::Choice MixtureAttacher::choose(const PlannedUpdate &planned,
                                                const PlannedParameter &parameter, unsigned use) {
  const Update &update = *planned.update;
  MixtureForm form = *MixtureForm::parse(update.form);
  const ModuleParameter *reads = findRouterInput(update, *parameter.parameter, *parameter.table);
  onnxir::NodeOp reader = reads->uses[use].node;
  Value input = reader->getOperand(0);
  auto router = update.tensors.find("router");
  const void *data = (router != update.tensors.end() ? router : update.tensors.find("logits"))->second.data;
  auto known = choices.find({input, data});
  if (known != choices.end())
    return known->second;
  OpBuilder builder(reader);
  if (Operation *source = input.getDefiningOp())
    builder.setInsertionPointAfter(source);
  else
    builder.setInsertionPointToStart(reader->getBlock());
  Location loc = reader.getLoc();
  NodeBuilder b(builder, loc, pathOf(planned, use) + "/router", planned.adapter->request->name);
  Value logits = logitsOf(b, planned, input, reader.getOpsetVersion());
  const Route &route = form.route;
  int64_t width =
      route.isSparse() ? route.sharedExperts + route.chosen() : static_cast<int64_t>(form.ranks.size());
  FloatAttr limit;
  if (route.isLimited())
    limit = builder.getF64FloatAttr(route.limit);
  auto op = RouteOp::create(builder, loc, typeLike(logits, width, builder.getF32Type()),
                            typeLike(logits, width, builder.getI64Type()), logits,
                            *symbolizeRouterScore(route.score), *symbolizeRouterOrder(route.order),
                            *symbolizeRouterSelection(route.selection), route.top, limit,
                            *symbolizeRouterNormalise(route.normalise), *symbolizeRouterScope(route.scope),
                            llvm::APFloat(route.temperature), route.nullExperts, route.sharedExperts);
  Choice choice{op.getWeights(), route.isSparse() ? op.getIds() : Value()};
  choices[{input, data}] = choice;
  return choice;
}

// What the node said of itself, to make it again.
static DictionaryAttr describe(onnxir::NodeOp node) {
  NamedAttrList fields;
  for (NamedAttribute each : node->getAttrs())
    fields.append(each);
  return fields.getDictionary(node.getContext());
}

void MixtureAttacher::replace(const PlannedParameter &planned, unsigned index,
                              ArrayRef<const PlannedUpdate *> mixtures) {
  const ParameterUse &use = planned.parameter->uses[index];
  onnxir::NodeOp node = use.node;
  auto flag = dyn_cast_or_null<IntegerAttr>(node.getNodeAttr("transB"));
  bool isGemm = node.getOpType() == "Gemm", transposed = isGemm && flag && flag.getInt();
  SmallVector<Choice> chosen;
  for (const PlannedUpdate *each : mixtures)
    chosen.push_back(choose(*each, planned, index));
  OpBuilder builder(node);
  Location loc = node.getLoc();
  ArrayRef<int64_t> shape = planned.parameter->shape;
  auto type = UpdateType::get(builder.getContext(), RankedTensorType::get(shape, builder.getF32Type()));
  SmallVector<Value> updates;
  for (auto [each, choice] : llvm::zip(mixtures, chosen)) {
    NodeBuilder b(builder, loc, pathOf(*each, index), each->adapter->request->name);
    const Update &update = *each->update;
    Value lowRank =
        LowRankOp::create(builder, loc, type, tensorOf(b, update, "A"), tensorOf(b, update, "B"), Value());
    Value mix = MixOp::create(builder, loc, type, lowRank, choice.weights, choice.ids,
                              MixtureForm::parse(update.form)->ranks);
    if (double scale = update.scale * each->adapter->request->scale; scale != 1.0)
      mix = ScaleOp::create(builder, loc, type, mix,
                            arith::ConstantOp::create(builder, loc, builder.getF64FloatAttr(scale)));
    updates.push_back(mix);
  }
  Value update =
      updates.size() == 1 ? updates.front() : SumOp::create(builder, loc, type, updates).getUpdate();
  if (!transposed) {
    auto turned = UpdateType::get(builder.getContext(),
                                  RankedTensorType::get({shape[1], shape[0]}, builder.getF32Type()));
    update = TransposeOp::create(builder, loc, turned, update, ArrayRef<int64_t>{1, 0});
  }
  Value bias = isGemm ? node.getInputOrNull(2) : Value();
  auto linear = LinearOp::create(builder, loc, node.getResult(0).getType(), node->getOperand(0),
                                 node->getOperand(1), bias, update, transposed, describe(node));
  node.getResult(0).replaceAllUsesWith(linear.getResult());
  replaced.push_back(node);
}

void MixtureAttacher::attach(const PlannedParameter &planned) {
  SmallVector<const PlannedUpdate *> mixtures;
  for (const PlannedUpdate &each : planned.updates)
    if (checkpoint::isMixtureForm(each.update->form))
      mixtures.push_back(&each);
  if (mixtures.empty())
    return;
  for (unsigned use = 0; use < planned.parameter->uses.size(); ++use)
    replace(planned, use, mixtures);
}

void MixtureAttacher::finish() {
  for (Operation *op : replaced)
    op->erase();
}
