// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Carrying out a plan: each parameter's updates go onto the edge between the parameter and the nodes that
// read it in that module. The nodes stay what they were; other readers of the same tensor do not notice.
#include "lib/Attach/Attach.h"
#include "lib/Attach/FormUse.h"
#include "lib/Attach/Forms.h"
#include "lib/Attach/Integers.h"
#include "lib/Attach/Mixtures.h"
#include "lib/Attach/Modules.h"
#include "lib/Attach/Plan.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Forms/FormLibrary.h"
#include "lib/Support/ONNX/NodeBuilder.h"
#include "lib/Support/ONNX/Tensors.h"
#include "lib/Support/ParameterStore.h"
#include "llvm/ADT/MapVector.h"
#include <cstring>

using namespace mlir;
using namespace adapter;
using checkpoint::Done;
using checkpoint::Status;
using checkpoint::Update;

namespace {
class Attacher {
public:
  Attacher(MLIRContext *context, AttachPlan &plan, bool mergesIntegers)
      : builder(context), plan(plan), mergesIntegers(mergesIntegers) {}
  void run(ModuleOp module, const std::vector<SlotRequest> &slots);

private:
  Value materializeBuilt(PlannedParameter &planned, Value weight, ImplicitLocOpBuilder &b);
  ResidentOp makeResident(onnxir::ModelOp model, const LoadedAdapter &adapter);
  SiteOp createSite(PlannedParameter &planned, BindingTime time, Location loc);
  Value makeGate(const PlannedUpdate &planned, OpBuilder &b);
  Value selectAt(PlannedParameter &planned, BindingTime time, Value weight, ImplicitLocOpBuilder &b);
  SiteOp newSite(onnxir::ModelOp model, const std::string &module, const std::string &parameter,
                 SiteKind kind, BindingTime time, int64_t rows, int64_t columns, Location loc);
  SiteOp makeModuleSite(PlannedModules &planned, ArrayRef<const PlannedUpdate *> here, BindingTime time);
  void attach(PlannedParameter &planned);
  void rewire(ModuleParameter &parameter, Value value);
  void linkTies();
  void listAdapters();
  void listSlots(ModuleOp module, const std::vector<SlotRequest> &slots);
  ArrayAttr stringsAttr(const std::vector<std::string> &texts) {
    SmallVector<StringRef> references(texts.begin(), texts.end());
    return builder.getStrArrayAttr(references);
  }
  void eraseUnread();
  void addUpdate(const PlannedUpdate &planned, SiteOp site, onnxir::ModelOp model,
                 const ModuleParameter *at = nullptr);

  OpBuilder builder;
  AttachPlan &plan;
  bool mergesIntegers;
  llvm::MapVector<std::pair<ModuleParameter *, BindingTime>, SiteOp> sites;
  // Of adapters that come later, per model, with the updates at its sites.
  llvm::MapVector<std::pair<Operation *, const LoadedAdapter *>, ResidentOp> residents;
  llvm::SetVector<Operation *> bypassed; // readers of parameters that may have lost their use
};
} // namespace

//===----------------------------------------------------------------------===//
// Updates that are known at build
//===----------------------------------------------------------------------===//

// Whether an update is one of the weight at a time. Mixtures act beside it.
static bool actsAt(const PlannedUpdate &each, BindingTime time) {
  return each.adapter->time == time && !each.update->mixture;
}

Value Attacher::materializeBuilt(PlannedParameter &planned, Value weight, ImplicitLocOpBuilder &b) {
  SmallVector<Value> built;
  for (const PlannedUpdate &each : planned.updates)
    if (const AdapterRequest &request = *each.adapter->request; actsAt(each, BindingTime::Build))
      built.push_back(
          buildUpdate(b, *each.update, *planned.parameter, request.name, request.scale, each.weight));
  if (built.empty())
    return weight;
  weight = floatsOf(planned.parameter->value, b);
  Value update = built.front();
  if (built.size() > 1)
    update = ComposeOp::create(b, update.getType(), built);
  return MaterializeOp::create(b, weight.getType(), weight, update);
}

//===----------------------------------------------------------------------===//
// Updates that come later
//===----------------------------------------------------------------------===//

// `at` is the parameter of a form that is a definition.
void Attacher::addUpdate(const PlannedUpdate &planned, SiteOp site, onnxir::ModelOp model,
                         const ModuleParameter *at) {
  const AdapterRequest &request = *planned.adapter->request;
  MLIRContext *context = builder.getContext();
  Update update = *planned.update;
  if (at)
    update = delivered(update, planned.weight ? *planned.weight : *at);
  NamedAttrList tensors;
  for (const auto &[role, tensor] : update.skills.empty() ? update.tensors : update.skills) {
    std::string key = ParameterStore::get(context).add(request.name, tensorKey(update, role), tensor);
    tensors.set(role,
                onnxir::TensorAttr::get(context, request.name, key, onnxproto::tensorTypeOf(tensor, context),
                                        ElementsAttr(), StringAttr()));
  }
  Attribute form = builder.getStringAttr(planned.label.empty() ? update.form : planned.label);
  if (update.bottleneck)
    form = BottleneckAttr::get(context, *update.bottleneck);
  NamedAttrList scalars, integers;
  for (const auto &[name, value] : update.scalars)
    scalars.set(name, builder.getF64FloatAttr(value));
  for (const auto &[name, value] : update.attributes)
    integers.set(name, builder.getI64IntegerAttr(value));
  auto optional = [&](const NamedAttrList &list) {
    return list.empty() ? DictionaryAttr() : list.getDictionary(context);
  };
  OpBuilder::InsertionGuard guard(builder);
  ResidentOp &resident = residents[{model, planned.adapter}];
  if (!resident)
    resident = makeResident(model, *planned.adapter);
  builder.setInsertionPointToEnd(&resident.getBody().front());
  ResidentUpdateOp::create(builder, site.getLoc(), FlatSymbolRefAttr::get(site), form,
                           builder.getI64IntegerAttr(update.rank),
                           builder.getF64FloatAttr(update.scale * request.scale),
                           tensors.getDictionary(context), optional(scalars), optional(integers),
                           update.skills.empty() ? IntegerAttr() : builder.getI64IntegerAttr(update.tasks));
}

// A site of no form in front of the model's graph.
SiteOp Attacher::newSite(onnxir::ModelOp model, const std::string &module, const std::string &parameter,
                         SiteKind kind, BindingTime time, int64_t rows, int64_t columns, Location loc) {
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(*model.getBody().front().getOps<onnxir::GraphOp>().begin());
  std::string name;
  // Sites of all models end up in one module.
  auto isTaken = [&] {
    return llvm::any_of(plan.tables, [&](const auto &table) {
      return SymbolTable::lookupSymbolIn(table->getModel(), name) != nullptr;
    });
  };
  for (int i = sites.size(); name.empty() || isTaken(); ++i)
    name = "site_" + std::to_string(i);
  MLIRContext *context = builder.getContext();
  return SiteOp::create(builder, loc, builder.getStringAttr(name), builder.getStringAttr(module),
                        builder.getStringAttr(parameter), SiteKindAttr::get(context, kind),
                        BindingTimeAttr::get(context, time), builder.getI64IntegerAttr(rows),
                        builder.getI64IntegerAttr(columns), UnitAttr(), UnitAttr(), builder.getArrayAttr({}),
                        ArrayAttr(), ArrayAttr(), ArrayAttr(), UnitAttr(),
                        plan.tables.size() > 1 ? model.getSymNameAttr() : StringAttr(), DenseI64ArrayAttr(),
                        TokenUseAttr(), IntegerAttr(), FlatSymbolRefAttr());
}

SiteOp Attacher::makeModuleSite(PlannedModules &planned, ArrayRef<const PlannedUpdate *> here,
                                BindingTime time) {
  const Update &first = *here.front()->update;
  SiteOp site = newSite(planned.sum->model(), first.module, first.parameter, SiteKind::Bottleneck, time,
                        planned.sum->width, planned.sum->width, planned.sum->sum.getLoc());
  if (llvm::any_of(here, [](const PlannedUpdate *each) { return each->adapter->request->byToken; }))
    site.setByToken(TokenUse::Adapter);
  llvm::SetVector<Attribute> bottlenecks;
  for (const PlannedUpdate *each : here) {
    bottlenecks.insert(BottleneckAttr::get(builder.getContext(), *each->update->bottleneck));
  }
  site.setBottlenecksAttr(builder.getArrayAttr(bottlenecks.getArrayRef()));
  for (const PlannedUpdate *each : here)
    addUpdate(*each, site, planned.sum->model());
  return site;
}

SiteOp Attacher::createSite(PlannedParameter &planned, BindingTime time, Location loc) {
  ModuleParameter &parameter = *planned.parameter;
  std::string module = parameter.module;
  llvm::SetVector<Attribute> forms, slots;
  bool spare = true;
  // Code multiplies patches of a convolution by its weight as a matrix.
  bool convolution = parameter.kind == SiteKind::Convolution;
  for (const PlannedUpdate &each : planned.updates)
    if (actsAt(each, time)) {
      forms.insert(builder.getStringAttr(each.label.empty() ? each.update->form : each.label));
      if (std::exchange(spare, false))
        module = each.update->module;
    }
  for (const PlannedRoom &room : planned.rooms)
    if (room.slot->time == time) {
      slots.insert(builder.getStringAttr(room.slot->name));
      for (const std::string &form : room.forms)
        for (const std::string &label : labelsOf(form, parameter))
          forms.insert(builder.getStringAttr(label));
    }
  int64_t columns = parameter.kind == SiteKind::Vector ? 0 : 1;
  for (int64_t size : ArrayRef(parameter.shape).drop_front())
    columns *= size;
  SiteOp site =
      newSite(parameter.model(), module, parameter.alias.empty() ? parameter.parameter : parameter.alias,
              convolution ? SiteKind::Linear : parameter.kind, time, parameter.shape[0], columns, loc);
  if (convolution)
    site.setTaps(ArrayRef(parameter.shape).drop_front(2));
  site.setTransposed(parameter.transposed);
  site.setStoredTransposed(parameter.storedTransposed);
  site.setFormsAttr(builder.getArrayAttr(forms.getArrayRef()));
  if (!slots.empty())
    site.setSlotsAttr(builder.getArrayAttr(slots.getArrayRef()));
  site.setSpare(spare);
  auto isMeant = [&](const PlannedUpdate &each) {
    return each.adapter->time == time && each.adapter->request->byToken;
  };
  auto hasRoom = [&](const PlannedRoom &room) { return room.slot->time == time && room.slot->byToken; };
  if (llvm::any_of(planned.updates, isMeant))
    site.setByToken(TokenUse::Adapter);
  else if (llvm::any_of(planned.rooms, hasRoom))
    site.setByToken(TokenUse::Room);
  return site;
}

Value Attacher::selectAt(PlannedParameter &planned, BindingTime time, Value weight, ImplicitLocOpBuilder &b) {
  bool named = llvm::any_of(planned.updates, [&](auto &each) { return actsAt(each, time); });
  bool room = llvm::any_of(planned.rooms, [&](auto &each) { return each.slot->time == time; });
  if (!named && !room)
    return weight;
  SiteOp site = createSite(planned, time, b.getLoc());
  sites[{planned.parameter, time}] = site;
  for (const PlannedUpdate &each : planned.updates)
    if (actsAt(each, time))
      addUpdate(each, site, planned.parameter->model(), planned.parameter);
  Value update = SelectOp::create(b, updateTypeOf(weight.getType()), FlatSymbolRefAttr::get(site));
  return MaterializeOp::create(b, weight.getType(), weight, update);
}

void Attacher::linkTies() {
  for (const auto &planned : plan.parameters)
    for (BindingTime time : {BindingTime::Load, BindingTime::Switch, BindingTime::Call, BindingTime::Row}) {
      auto site = sites.find({planned->parameter, time});
      if (site == sites.end())
        continue;
      SmallVector<Attribute> followers;
      for (ModuleParameter *weight : planned->tied)
        if (auto follower = sites.find({weight, time}); follower != sites.end())
          followers.push_back(FlatSymbolRefAttr::get(follower->second));
      if (!followers.empty())
        site->second.setTiedAttr(builder.getArrayAttr(followers));
    }
}

ResidentOp Attacher::makeResident(onnxir::ModelOp model, const LoadedAdapter &adapter) {
  const AdapterRequest &request = *adapter.request;
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(*model.getBody().front().getOps<onnxir::GraphOp>().begin());
  auto resident = ResidentOp::create(builder, model.getLoc(), builder.getStringAttr(request.name),
                                     BindingTimeAttr::get(builder.getContext(), adapter.time),
                                     builder.getStringAttr(adapter.contents.hash),
                                     request.byToken ? builder.getUnitAttr() : UnitAttr(),
                                     request.bound.empty() ? ArrayAttr() : stringsAttr(request.bound));
  resident.getBody().emplaceBlock();
  return resident;
}

// Of the build's there are only those that leave some weight as it is.
void Attacher::listAdapters() {
  for (const auto &table : plan.tables)
    for (const auto &adapter : plan.adapters)
      if (adapter->time != BindingTime::Build)
        residents[{table->getModel(), adapter.get()}] = makeResident(table->getModel(), *adapter);
}

void Attacher::listSlots(ModuleOp module, const std::vector<SlotRequest> &slots) {
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(module.getBody());
  for (const SlotRequest &slot : slots)
    SlotOp::create(builder, module.getLoc(), builder.getStringAttr(slot.name),
                   BindingTimeAttr::get(builder.getContext(), slot.time),
                   stringsAttr(plan.slotForms.at(slot.name)), builder.getI64IntegerAttr(slot.rank),
                   slot.byToken ? builder.getUnitAttr() : UnitAttr(),
                   slot.bound.empty() ? ArrayAttr() : stringsAttr(slot.bound),
                   plan.slotBase.empty() ? StringAttr() : builder.getStringAttr(plan.slotBase));
}

//===----------------------------------------------------------------------===//
// Edges
//===----------------------------------------------------------------------===//

void Attacher::rewire(ModuleParameter &parameter, Value value) {
  // Nodes on the way from parameter to operand are copied: others may read them too.
  DenseMap<Operation *, Value> copies;
  for (ParameterUse &use : parameter.uses) {
    // Calls of a module that runs several times may read a copy of the parameter each.
    Value before =
        use.chain.empty() ? use.node->getOperand(use.operand) : use.chain.front().getInputs().front();
    bypassed.insert(before.getDefiningOp());
    Value operand = value;
    for (onnxir::NodeOp node : use.chain) {
      Value &copy = copies[node];
      if (!copy) {
        OpBuilder at(node);
        IRMapping mapping;
        mapping.map(node.getInputs().front(), operand);
        copy = at.clone(*node, mapping)->getResult(0);
        bypassed.insert(node);
      }
      operand = copy;
    }
    use.node->setOperand(use.operand, operand);
  }
}

// A parameter that is 0 in the base, to which the adapter adds 1: what changes with the call or row of a mixture is no
// weight, but whether it acts, and how much.
Value Attacher::makeGate(const PlannedUpdate &planned, OpBuilder &b) {
  const LoadedAdapter &adapter = *planned.adapter;
  auto model = b.getBlock()->getParentOp()->getParentOfType<onnxir::ModelOp>();
  auto one = [](float value) {
    checkpoint::Tensor tensor = checkpoint::allocateTensor(checkpoint::DType::F32, {1});
    std::memcpy(checkpoint::mutableData(tensor), &value, sizeof value);
    return tensor;
  };
  Update gate;
  gate.module = planned.update->module;
  gate.parameter = "mixture";
  gate.form = addedWhole;
  gate.tensors["value"] = one(1);
  Location loc = model.getLoc();
  SiteOp site = newSite(model, gate.module, gate.parameter, SiteKind::Vector, adapter.time, 1, 0, loc);
  site.setFormsAttr(b.getStrArrayAttr({gate.form}));
  PlannedUpdate described{&adapter, &gate};
  addUpdate(described, site, model);
  NodeBuilder nodes(b, loc, "/" + adapter.request->name, adapter.request->name);
  Value weight = nodes.parameter(gate.module + ".mixture", one(0));
  Value update = SelectOp::create(b, loc, updateTypeOf(weight.getType()), FlatSymbolRefAttr::get(site));
  return MaterializeOp::create(b, loc, weight.getType(), weight, update);
}

void Attacher::attach(PlannedParameter &planned) {
  if (!planned.parameter)
    planned.parameter = planned.table->addBias(*planned.biasless);
  ModuleParameter &parameter = *planned.parameter;
  ImplicitLocOpBuilder b(parameter.value.getLoc(), builder.getContext());
  b.setInsertionPointAfter(parameter.value);
  // What forms make of a bias may read the weight beside it.
  for (const PlannedUpdate &each : planned.updates)
    if (ParameterOp beside = each.weight ? each.weight->value : ParameterOp();
        beside && beside->getBlock() == b.getInsertionBlock() &&
        b.getInsertionPoint() != b.getInsertionBlock()->end() &&
        !beside->isBeforeInBlock(&*b.getInsertionPoint()))
      b.setInsertionPointAfter(beside);
  Value value = !mergesIntegers && keepsBuilt(planned)
                    ? selectAt(planned, BindingTime::Build, parameter.value, b)
                    : materializeBuilt(planned, parameter.value, b);
  for (BindingTime time : {BindingTime::Load, BindingTime::Switch, BindingTime::Call, BindingTime::Row})
    value = selectAt(planned, time, value, b);
  rewire(parameter, value);
}

void Attacher::eraseUnread() {
  bool changed = true;
  while (changed) {
    changed = false;
    for (Operation *op : llvm::to_vector(bypassed))
      if (op->use_empty()) {
        bypassed.remove(op);
        op->erase();
        changed = true;
      }
  }
}

void Attacher::run(ModuleOp module, const std::vector<SlotRequest> &slots) {
  listAdapters();
  for (const auto &planned : plan.parameters)
    attach(*planned);
  for (const auto &modules : plan.modules)
    attachModules(*modules, [&](ArrayRef<const PlannedUpdate *> updates, BindingTime time) {
      return makeModuleSite(*modules, updates, time);
    });
  MixtureAttacher mixtures([&](const PlannedUpdate &each, OpBuilder &b) { return makeGate(each, b); });
  mixtures.prepare(plan);
  for (const auto &planned : plan.parameters)
    mixtures.attach(*planned);
  mixtures.finish();
  linkTies();
  listSlots(module, slots);
  eraseUnread();
}

Status adapter::attachAdapters(ModuleOp module, const std::vector<AdapterRequest> &requests,
                               const std::vector<SlotRequest> &slots, const AttachOptions &options,
                               AttachReport &report) {
  AttachPlan plan;
  if (Status status = planAttach(module, requests, slots, options, plan, report); !status)
    return status;
  if (options.checkOnly || !report.leftOver.empty())
    return Done{};
  if (Status status = options.mergesIntegers ? Status(Done{}) : checkSumsBesideIntegers(plan); !status)
    return status;
  Attacher(module.getContext(), plan, options.mergesIntegers).run(module, slots);
  recordPlacements(plan, report);
  return Done{};
}
