// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Mixtures.h. A router stands behind the value that it reads, so that all modules that share it come after it.
#include "lib/Attach/Mixtures.h"
#include "lib/Attach/Forms.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Support/ONNX/NodeBuilder.h"
#include "mlir/Analysis/TopologicalSortUtils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace adapter;
using checkpoint::Mixture;
using checkpoint::Route;
using checkpoint::Tensor;
using checkpoint::Update;

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

// What names of nodes that belong to an update begin with. A module may run several times, and under several paths.
std::string MixtureAttacher::pathOf(const PlannedUpdate &planned) {
  std::string path = "/" + planned.update->module + "/" + planned.adapter->request->name;
  std::replace(path.begin(), path.end(), '.', '/');
  unsigned before = paths[path]++;
  return path + (before ? "_" + std::to_string(before) : "");
}

static Value tensorOf(NodeBuilder &b, const Update &update, StringRef role) {
  return b.parameter(tensorKey(update, role), update.tensors.at(role.str()));
}

Value MixtureAttacher::logitsOf(NodeBuilder &b, const PlannedUpdate &planned, Value input, int64_t opset) {
  const Update &update = *planned.update;
  if (update.tensors.count("logits"))
    return tensorOf(b, update, "logits");
  if (update.mixture->route.scope == checkpoint::RouteScope::Sequence)
    input = b.tokenMean(input, opset);
  Value logits = b.product(input, b.transposed(tensorOf(b, update, "router")));
  return update.tensors.count("router_bias") ? b.node("Add", {logits, tensorOf(b, update, "router_bias")})
                                             : logits;
}

MixtureAttacher::Choice MixtureAttacher::makeRoute(NodeBuilder &b, Location loc, Value logits,
                                                   const Mixture &mixture) {
  OpBuilder &builder = b.builder;
  const Route &route = mixture.route;
  int64_t width =
      route.isSparse() ? route.sharedExperts + route.chosen() : static_cast<int64_t>(mixture.ranks.size());
  FloatAttr limit;
  if (route.isLimited())
    limit = builder.getF64FloatAttr(route.limit);
  auto op = RouteOp::create(
      builder, loc, typeLike(logits, width, builder.getF32Type()),
      typeLike(logits, width, builder.getI64Type()), logits, *symbolizeRouterScore(word(route.score)),
      *symbolizeRouterOrder(word(route.order)), *symbolizeRouterSelection(word(route.selection)), route.top,
      limit, *symbolizeRouterNormalise(word(route.normalise)), *symbolizeRouterScope(word(route.scope)),
      llvm::APFloat(route.temperature), route.nullExperts, route.sharedExperts);
  return {op.getWeights(), route.isSparse() ? op.getIds() : Value()};
}

//===----------------------------------------------------------------------===//
// Classifiers of a first pass
//===----------------------------------------------------------------------===//

MixtureAttacher::Choice MixtureAttacher::classify(const LoadedAdapter &adapter, const ModuleTable &table,
                                                  ArrayRef<MixedUse> uses) {
  const checkpoint::Classifier &classifier = *adapter.contents.classifier;
  const Mixture &mixture = *adapter.contents.updates.front().mixture;
  Value hidden = *findHiddenState(table, classifier.layers.front().first.shape[1]);
  auto experts = static_cast<int64_t>(mixture.ranks.size());
  std::string name = "/" + adapter.request->name + "/classifier";
  Block *block = hidden.getParentBlock();
  unsorted.insert(block);
  OpBuilder builder(block->getTerminator());
  Location loc = hidden.getLoc();
  NodeBuilder b(builder, loc, name, adapter.request->name);
  // Every expert has the same weight there.
  Value weights;
  if (classifier.passScale != 0) {
    Tensor equal = checkpoint::allocateTensor(checkpoint::DType::F32, {experts});
    std::fill_n(reinterpret_cast<float *>(checkpoint::mutableData(equal)), experts,
                static_cast<float>(classifier.passScale));
    equal.key = "scaling_pass_value";
    weights = b.parameter(equal.key, equal);
  }
  Value x = copyFirstPass(hidden, uses, [&](onnxir::NodeOp copy, const MixedUse &use) {
    if (!weights)
      return;
    for (const PlannedUpdate &each : use.parameter->updates)
      if (each.adapter == &adapter) {
        makeLinear(copy, *use.parameter, use.use, &each, Choice{weights, Value()});
        copy->erase();
        return;
      }
  });
  builder.setInsertionPoint(block->getTerminator());
  for (auto [i, layer] : llvm::enumerate(classifier.layers)) {
    Value weight = b.parameter(layer.first.key, layer.first),
          bias = b.parameter(layer.second.key, layer.second);
    x = b.node("Add", {b.product(i ? b.node("Relu", {x}) : x, b.transposed(weight)), bias});
  }
  Choice choice = makeRoute(b, loc, x, mixture);
  if (classifier.again)
    choice.weights = b.node("Softmax", choice.weights, choice.weights.getType(),
                            NamedAttribute(builder.getStringAttr("axis"), builder.getI64IntegerAttr(-1)));
  return choice;
}

void MixtureAttacher::prepare(const AttachPlan &plan) {
  for (const auto &adapter : plan.adapters)
    for (const auto &table : plan.tables) {
      if (!adapter->contents.classifier)
        continue;
      std::vector<MixedUse> uses;
      for (const auto &planned : plan.parameters)
        if (planned->table == table.get() && llvm::any_of(planned->updates, [&](const PlannedUpdate &each) {
              return each.adapter == adapter.get();
            }))
          for (unsigned use = 0; use < planned->parameter->uses.size(); ++use)
            uses.push_back({planned.get(), use});
      if (!uses.empty())
        byPass[{adapter.get(), table.get()}] = classify(*adapter, *table, uses);
    }
}

// For a node whose input has batch and sequence in one dimension, so have the weights.
MixtureAttacher::Choice MixtureAttacher::classified(const PlannedUpdate &planned,
                                                    const PlannedParameter &parameter, unsigned use) {
  Choice whole = byPass.at({planned.adapter, parameter.table});
  onnxir::NodeOp node = parameter.parameter->uses[use].node;
  auto type = dyn_cast<RankedTensorType>(node->getOperand(0).getType());
  if (!type || type.getRank() != 2)
    return whole;
  Choice &choice = flat[{planned.adapter, parameter.table}];
  if (choice.weights)
    return choice;
  OpBuilder builder(node->getBlock()->getTerminator());
  NodeBuilder b(builder, node.getLoc(), "/" + planned.adapter->request->name + "/flat",
                planned.adapter->request->name);
  auto flatten = [&](Value value) -> Value {
    int64_t width = widthOf(value);
    Type flatType = RankedTensorType::get({ShapedType::kDynamic, width}, elementTypeOf(value));
    return value ? b.node("Reshape", {value, b.integers({-1, width})}, flatType) : Value();
  };
  choice.weights = flatten(whole.weights);
  if (whole.ids)
    choice.ids = flatten(whole.ids);
  return choice;
}

MixtureAttacher::Choice MixtureAttacher::choose(const PlannedUpdate &planned,
                                                const PlannedParameter &parameter, unsigned use) {
  const Update &update = *planned.update;
  if (update.mixture->classified)
    return classified(planned, parameter, use);
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
  NodeBuilder b(builder, loc, pathOf(planned) + "/router", planned.adapter->request->name);
  Choice choice = makeRoute(b, loc, logitsOf(b, planned, input, reader.getOpsetVersion()), *update.mixture);
  choices[{input, data}] = choice;
  return choice;
}

// One for all mixtures of an adapter; null for one that acts always.
Value MixtureAttacher::gateOf(const PlannedUpdate &planned, const ModuleTable &table, Block *block) {
  if (planned.adapter->time == BindingTime::Build)
    return {};
  Value &gate = gates[{planned.adapter, &table}];
  if (!gate) {
    OpBuilder builder = OpBuilder::atBlockBegin(block);
    gate = makeGate(planned, builder);
  }
  return gate;
}

// What the node said of itself, to make it again.
static DictionaryAttr describe(onnxir::NodeOp node) {
  NamedAttrList fields;
  for (NamedAttribute each : node->getAttrs())
    fields.append(each);
  return fields.getDictionary(node.getContext());
}

Value MixtureAttacher::makeLinear(onnxir::NodeOp node, const PlannedParameter &planned, unsigned index,
                                  ArrayRef<const PlannedUpdate *> mixtures, ArrayRef<Choice> chosen) {
  auto flag = dyn_cast_or_null<IntegerAttr>(node.getNodeAttr("transB"));
  bool isGemm = node.getOpType() == "Gemm", transposed = isGemm && flag && flag.getInt();
  OpBuilder builder(node);
  Location loc = node.getLoc();
  ArrayRef<int64_t> shape = planned.parameter->shape;
  auto type = UpdateType::get(builder.getContext(), RankedTensorType::get(shape, builder.getF32Type()));
  SmallVector<Value> updates;
  for (auto [each, choice] : llvm::zip(mixtures, chosen)) {
    NodeBuilder b(builder, loc, pathOf(*each), each->adapter->request->name);
    const Update &update = *each->update;
    Value lowRank =
        LowRankOp::create(builder, loc, type, tensorOf(b, update, "A"), tensorOf(b, update, "B"), Value());
    Value gate = gateOf(*each, *planned.table, node->getBlock());
    Value mix =
        MixOp::create(builder, loc, type, lowRank, choice.weights, choice.ids, gate, update.mixture->ranks);
    // The scale of one that comes later is its gate's.
    if (double scale = update.scale * each->adapter->request->scale; scale != 1.0 && !gate)
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
  return linear.getResult();
}

void MixtureAttacher::attach(const PlannedParameter &planned) {
  SmallVector<const PlannedUpdate *> mixtures;
  for (const PlannedUpdate &each : planned.updates)
    if (each.update->mixture)
      mixtures.push_back(&each);
  if (mixtures.empty())
    return;
  for (auto [use, place] : llvm::enumerate(planned.parameter->uses)) {
    SmallVector<Choice> chosen;
    for (const PlannedUpdate *each : mixtures)
      chosen.push_back(choose(*each, planned, use));
    makeLinear(place.node, planned, use, mixtures, chosen);
    replaced.push_back(place.node);
  }
}

void MixtureAttacher::finish() {
  for (Operation *op : replaced)
    op->erase();
  for (Block *block : unsorted)
    sortTopologically(block);
}
