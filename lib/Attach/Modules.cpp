// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Modules.h; the letters h, t, s, n and o are lib/Checkpoint/Bottleneck.h's. Where o takes the place of h in a sum
// that the module does not read, the sum's operand changes and nothing else; where the module reads the sum or the
// norm, both are made anew behind it; where o is final, it takes the place of what the graph read.
#include "lib/Attach/Modules.h"
#include "lib/Attach/Forms.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Support/ONNX/NodeBuilder.h"
#include "lib/Support/ParameterStore.h"

using namespace mlir;
using namespace adapter;
using checkpoint::Bottleneck;
using checkpoint::ModulePlacement;
using checkpoint::Tensor;
using checkpoint::Update;
using Place = ModulePlacement::Value;

static bool readsSum(const ModulePlacement &placement) {
  auto isBehind = [](Place place) { return place == Place::Sum || place == Place::Norm; };
  return isBehind(placement.input) || isBehind(placement.onto);
}

//===----------------------------------------------------------------------===//
// Whether it fits
//===----------------------------------------------------------------------===//

std::string adapter::whyModuleUnfit(const PlannedUpdate &update, const PlannedModules &planned) {
  const Bottleneck &form = *update.update->bottleneck;
  const ModulePlacement &placement = update.update->placement;
  const ResidualSum &sum = *planned.sum;
  BindingTime time = update.adapter->time;
  bool later = time != BindingTime::Build;
  if (sum.normUnknown && (readsSum(placement) || placement.final))
    return "its place depends on the norm behind '" + sum.module +
           "', which the graph spells out in several nodes; export with opset 17 or newer";
  if ((form.normBefore || form.normAfter) && sum.model().getOpsetVersion("") < 17)
    return "it needs LayerNormalization; export with opset 17 or newer";
  Type element = adapter::elementTypeOf(sum.sublayer());
  if (!element.isF32() && !element.isF16())
    return "it acts on float32 and float16, but the graph has another type there";
  if (element.isF16())
    for (const auto &[role, tensor] : update.update->tensors)
      if (tensor.dtype != checkpoint::DType::F16 && checkpoint::isFloat(tensor.dtype))
        return "'" + tensor.key + "' is " + checkpoint::dtypeName(tensor.dtype) +
               ", but the graph computes in float16";
  if (time == BindingTime::Switch)
    return "a module has no weight of the model to switch; bind it at build, call or row";
  if (time == BindingTime::Call && form.gate)
    return "its gate is a mean over the tokens of a row, which a call does not tell apart; bind it at build "
           "or row";
  if (later && placement.onto == Place::Nothing)
    return "the form '" + update.update->formText() + "' at '" + update.update->parameter +
           "' can be bound at build only";
  for (const PlannedUpdate &other : planned.updates)
    if (other.adapter->time == BindingTime::Build && other.update->placement.final)
      return "the module of adapter '" + other.adapter->request->name +
             "' stands there and takes the place of the whole sum; nothing can be put behind it";
  return "";
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

namespace {
class ModuleAttacher {
public:
  ModuleAttacher(PlannedModules &planned, MakeSite makeSite)
      : planned(planned), sum(*planned.sum), builder(sum.sum->getContext()), makeSite(makeSite) {}
  void run();

private:
  void eraseUnread();
  Value at(Place place) const;
  Value bottleneck(const PlannedUpdate &update);
  Value factor(NodeBuilder &b, const PlannedUpdate &update, const std::string &role);
  Value up(NodeBuilder &b, const PlannedUpdate &update, const std::string &role);
  void place(const ModulePlacement &placement, llvm::function_ref<Value()> make);

  PlannedModules &planned;
  ResidualSum &sum;
  OpBuilder builder;
  MakeSite makeSite;
  SmallVector<onnxir::NodeOp> bypassed; // sums and norms that may have lost their readers, the last first
};
} // namespace

// Null for nothing.
Value ModuleAttacher::at(Place place) const {
  switch (place) {
  case Place::Sublayer:
    return sum.sublayer();
  case Place::Residual:
    return sum.residual();
  case Place::Sum:
    return sum.sum->getResult(0);
  case Place::Norm:
    return sum.norm ? sum.norm->getResult(0) : sum.sum->getResult(0);
  case Place::Nothing:
    return {};
  }
  return {};
}

// A tensor of the checkpoint, in the type that the graph computes in.
Value ModuleAttacher::factor(NodeBuilder &b, const PlannedUpdate &update, const std::string &role) {
  Tensor tensor = update.update->tensors.at(role);
  if (checkpoint::isFloat(tensor.dtype) && adapter::elementTypeOf(sum.sublayer()).isF32()) {
    std::string key = tensor.key;
    tensor = *checkpoint::toF32(tensor);
    tensor.key = key;
  }
  return b.parameter(tensorKey(*update.update, role), std::move(tensor));
}

// Of a mixture the factor that it is mixed to.
Value ModuleAttacher::up(NodeBuilder &b, const PlannedUpdate &update, const std::string &role) {
  const std::optional<checkpoint::MaskedMix> &masked = update.update->masked;
  if (!masked)
    return factor(b, update, role);
  SmallVector<Value> factors, masks;
  for (int i = 0; i < masked->count; ++i) {
    std::string number = "." + std::to_string(i);
    factors.push_back(factor(b, update, role + number));
    masks.push_back(factor(b, update, (role == "up" ? "mask" : role + "_mask") + number));
  }
  Location loc = sum.sum.getLoc();
  // Biases may be trained whole in every module.
  return MaskMixOp::create(b.builder, loc, factors.front().getType(),
                           *symbolizeMaskMixMode(word(masked->mode)), factors, masks,
                           /*disjoint=*/role == "up");
}

Value ModuleAttacher::bottleneck(const PlannedUpdate &update) {
  const AdapterRequest &request = *update.adapter->request;
  const Bottleneck &form = *update.update->bottleneck;
  const ModulePlacement &placement = update.update->placement;
  std::string name = "/" + update.update->module + "/" + request.name;
  std::replace(name.begin(), name.end(), '.', '/');
  NodeBuilder b(builder, sum.sum.getLoc(), name, request.name);
  auto tensor = [&](const char *role) { return factor(b, update, role); };
  Value x = at(placement.input), residual = at(placement.onto), input = x;
  if (form.normBefore)
    input = b.layerNorm(x, tensor("norm_before"), tensor("norm_before_bias"), form.epsilon);
  // What comes between the module and the residual keeps the two apart.
  bool apart = form.gate || (form.normAfter && !form.residualFirst);
  Value down = tensor("down"), downBias = tensor("down_bias"), wide = up(b, update, "up"),
        wideBias = up(b, update, "up_bias"), scale = form.channel ? tensor("channel") : Value();
  auto op = BottleneckOp::create(builder, sum.sum.getLoc(), sum.sublayer().getType(), input, down, downBias,
                                 wide, wideBias, scale, apart ? Value() : residual,
                                 builder.getF64FloatAttr(update.update->scale * request.scale),
                                 builder.getStringAttr(name + "/bottleneck"));
  {
    OpBuilder::InsertionGuard guard(builder);
    Block *inner = builder.createBlock(&op.getInner(), {}, withWidth(input.getType(), update.update->rank),
                                       sum.sum.getLoc());
    YieldOp::create(builder, sum.sum.getLoc(), b.activation(form.activation, inner->getArgument(0)));
  }
  Value result = op.getResult();
  if (form.gate) {
    Value open = b.node("Add", {b.product(x, b.transposed(tensor("gate"))), tensor("gate_bias")});
    int64_t opset = sum.model().getOpsetVersion("");
    result = b.node("Mul", {result, b.tokenMean(b.node("Sigmoid", {open}), opset)});
    if (form.residualFirst && residual)
      result = b.node("Add", {result, residual});
  }
  if (form.normAfter)
    result = b.layerNorm(result, tensor("norm_after"), tensor("norm_after_bias"), form.epsilon);
  if (apart && !form.residualFirst && residual)
    result = b.node("Add", {result, residual});
  return result;
}

static void rename(Operation *op, StringRef end) {
  auto node = cast<onnxir::NodeOp>(op);
  OpBuilder builder(op);
  node.setResultNamesAttr(
      builder.getStrArrayAttr({(cast<StringAttr>(node.getResultNames()[0]).getValue() + end).str()}));
  if (node.getNodeName())
    node.setNodeName((*node.getNodeName() + end).str());
}

void ModuleAttacher::place(const ModulePlacement &placement, llvm::function_ref<Value()> make) {
  onnxir::NodeOp last = sum.norm ? sum.norm : sum.sum;
  if (!placement.final && !readsSum(placement)) {
    builder.setInsertionPoint(sum.sum);
    sum.sum->setOperand(sum.sublayerOperand, make());
    return;
  }
  Operation *behind = placement.final && sum.result.getDefiningOp() ? sum.result.getDefiningOp() : last;
  builder.setInsertionPointAfter(behind);
  SmallVector<OpOperand *> readers;
  for (OpOperand &use : sum.result.getUses())
    readers.push_back(&use);
  Value result = make();
  if (!placement.final) {
    auto again = cast<onnxir::NodeOp>(builder.clone(*sum.sum));
    rename(again, "_adapted");
    again->setOperand(sum.sublayerOperand, result);
    bypassed.insert(bypassed.begin(), sum.sum);
    sum.sum = again;
    result = again->getResult(0);
    if (sum.norm) {
      bypassed.insert(bypassed.begin(), sum.norm);
      sum.norm = cast<onnxir::NodeOp>(builder.clone(*sum.norm));
      rename(sum.norm, "_adapted");
      sum.norm->setOperand(0, result);
      result = sum.norm->getResult(0);
    }
  }
  for (OpOperand *use : readers)
    use->set(result);
  sum.result = result;
}

void ModuleAttacher::run() {
  llvm::MapVector<std::pair<Attribute, BindingTime>, SmallVector<const PlannedUpdate *>> later;
  for (const PlannedUpdate &each : planned.updates) {
    BindingTime time = each.adapter->time;
    if (time == BindingTime::Build)
      place(each.update->placement, [&] { return bottleneck(each); });
    else
      later[{builder.getStringAttr(each.update->parameter), time}].push_back(&each);
  }
  // A site's rows must find everything as it is without the others: first those that leave the sum in its place, then
  // those that make it anew, last those that take its place.
  auto groups = later.takeVector();
  auto order = [](const auto &group) {
    const ModulePlacement &placement = group.second.front()->update->placement;
    return placement.final ? 2 : readsSum(placement) ? 1 : 0;
  };
  llvm::stable_sort(groups, [&](const auto &a, const auto &b) { return order(a) < order(b); });
  for (const auto &[key, updates] : groups) {
    const ModulePlacement &placement = updates.front()->update->placement;
    SiteOp site = makeSite(updates, key.second);
    place(placement, [&] {
      Value base = placement.final ? sum.result : sum.sublayer(), residual = at(placement.onto);
      return ActOp::create(builder, sum.sum.getLoc(), base.getType(), FlatSymbolRefAttr::get(site), base,
                           at(placement.input), residual == base ? Value() : residual);
    });
  }
  eraseUnread();
}

void ModuleAttacher::eraseUnread() {
  if (sum.norm)
    bypassed.insert(bypassed.begin(), sum.norm);
  bypassed.push_back(sum.sum);
  for (onnxir::NodeOp node : bypassed)
    if (node->use_empty())
      node->erase();
}

void adapter::attachModules(PlannedModules &planned, MakeSite makeSite) {
  ModuleAttacher(planned, makeSite).run();
}
