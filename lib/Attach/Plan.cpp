// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Planning: adapters are read, their updates placed one adapter after the other, then slots get their room.
#include "lib/Attach/Plan.h"
#include "lib/Attach/FormUse.h"
#include "lib/Attach/Forms.h"
#include "lib/Attach/Mixtures.h"
#include "lib/Attach/Planner.h"
#include "lib/Checkpoint/Skills.h"
#include "lib/Checkpoint/Work.h"
#include "lib/Import/ONNX/Passes.h"

using namespace mlir;
using namespace adapter;
using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;
using checkpoint::Update;

PlannedParameter &AttachPlan::planned(ModuleParameter *parameter, ModuleParameter *biasless) {
  PlannedParameter *&entry = byParameter[{parameter, biasless}];
  if (!entry) {
    parameters.push_back(std::make_unique<PlannedParameter>());
    entry = parameters.back().get();
    onnxir::ModelOp model = (parameter ? parameter : biasless)->model();
    entry->table =
        llvm::find_if(tables, [&](const auto &table) { return table->getModel() == model; })->get();
    entry->parameter = parameter;
    entry->biasless = biasless;
  }
  return *entry;
}

std::vector<ModuleParameter *> adapter::tiedWeights(const ModuleTable &table,
                                                    const ModuleParameter &embedding) {
  std::vector<ModuleParameter *> result;
  if (embedding.kind == SiteKind::Embedding)
    table.forEach([&](ModuleParameter &parameter) {
      if (parameter.kind == SiteKind::Linear && holdSameNumbers(embedding, parameter))
        result.push_back(&parameter);
    });
  return result;
}

// The bias that a weight's module lacks, as it would be.
ModuleParameter adapter::missingBias(const ModuleParameter &biasless) {
  ModuleParameter bias;
  bias.module = biasless.module;
  bias.parameter = "bias";
  bias.uses = biasless.uses;
  bias.shape = {biasless.shape[0]};
  bias.naming = Naming::Own;
  bias.isStructural = true;
  bias.evidence = biasless.evidence;
  return bias;
}

// At build an adapter of several tasks is that of one of them.
static Status settleTask(const AdapterRequest &request, checkpoint::Adapter &contents) {
  int64_t tasks = contents.tasks();
  if (request.task && !tasks)
    return Error{request.path + ": the adapter knows no tasks; leave out --bind " + request.name + ".task"};
  if (request.task || tasks == 1)
    return checkpoint::chooseTask(contents, request.task.value_or(0));
  if (tasks && request.time == BindingTime::Build)
    return Error{request.path + ": the adapter has " + std::to_string(tasks) +
                 " tasks; name the one to build in, as in --bind " + request.name +
                 ".task=0, or let calls choose, @row or @call"};
  return Done{};
}

// Modules under the names that --map gives them. Two modules never become one.
static Status renameModules(checkpoint::Adapter &contents, const std::vector<checkpoint::Renaming> &renamings,
                            std::vector<bool> &isUsed) {
  std::map<std::string, std::string> before; // by name after it
  for (Update &update : contents.updates) {
    std::string old = update.module;
    for (size_t i = 0; i < renamings.size(); ++i)
      if (checkpoint::rename(renamings[i], update.module)) {
        isUsed[i] = true;
        break;
      }
    if (const std::string &other = before.emplace(update.module, old).first->second; other != old)
      return Error{"--map makes one module, '" + update.module + "', of '" + other + "' and '" + old + "'"};
  }
  return Done{};
}

Status adapter::planAttach(ModuleOp module, const std::vector<AdapterRequest> &requests,
                           const std::vector<SlotRequest> &slots, const AttachOptions &options,
                           AttachPlan &plan, AttachReport &report) {
  for (auto model : module.getOps<onnxir::ModelOp>()) {
    raiseConstants(model);
    plan.tables.push_back(std::make_unique<ModuleTable>(model));
    plan.sums.push_back(std::make_unique<ResidualSums>(model));
  }
  if (plan.tables.empty())
    return Error{"there is no onnx.model for adapters to act on"};
  Planner planner(options, plan, report);
  if (Status status = planner.readOptions(); !status)
    return status;
  std::vector<bool> isUsed(options.renamings.size());
  for (const AdapterRequest &request : requests) {
    if (checkpoint::isCancelled())
      return checkpoint::cancelledError();
    Result<checkpoint::Adapter> contents =
        request.contents ? *request.contents : checkpoint::readAdapter(request.path);
    if (!contents)
      return contents.error();
    if (Status status = placeOwnForm(*contents, module.getContext()); !status)
      return status;
    if (Status status = settleTask(request, *contents); !status)
      return status;
    if (Status status = renameModules(*contents, options.renamings, isUsed); !status)
      return status;
    if (request.time != BindingTime::Build)
      contents->foldMasks();
    addBiasUpdates(*contents, module.getContext());
    plan.adapters.push_back(
        std::make_unique<LoadedAdapter>(LoadedAdapter{&request, std::move(*contents), request.time, {}}));
    if (needsRanks(plan.adapters.back()->contents))
      for (const auto &table : plan.tables)
        if (failed(inferShapes(table->getModel())))
          return Error{"adapter '" + request.name + "': the shapes of the graph's values cannot be inferred"};
    if (Status status = planner.placeAll(*plan.adapters.back()); !status)
      return status;
  }
  for (size_t i = 0; i < isUsed.size(); ++i)
    if (!isUsed[i])
      return Error{"--map '" + options.renamings[i].from + "=" + options.renamings[i].to +
                   "' names no module of an adapter"};
  if (Status status = checkFirstPasses(plan); !status)
    return status;
  for (const SlotRequest &slot : slots)
    if (Status status = makeRoom(slot, plan, report); !status)
      return status;
  if (!slots.empty() && !options.base.empty()) {
    Result<checkpoint::BaseModel> base = checkpoint::BaseModel::open(options.base);
    if (!base)
      return Error{"--base " + base.error().message};
    if (Status status = checkRooms(*base, options, plan); !status)
      return status;
  }
  chooseTimes(plan, options, report);
  return Done{};
}
