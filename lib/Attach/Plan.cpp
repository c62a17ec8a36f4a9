// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every update of every adapter finds its parameters, or a message says why not.
#include "lib/Attach/Plan.h"
#include "lib/Attach/Contents.h"
#include "lib/Attach/Forms.h"
#include "lib/Attach/Fused.h"
#include "lib/Attach/Match.h"
#include "lib/Attach/Mixtures.h"
#include "lib/Attach/Modules.h"
#include "lib/Checkpoint/Bottleneck.h"
#include "lib/Checkpoint/Skills.h"
#include "lib/Import/ONNX/Passes.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/GlobPattern.h"
#include <set>

using namespace mlir;
using namespace adapter;
using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;
using checkpoint::Update;

namespace {
class Planner {
public:
  Planner(const AttachOptions &options, AttachPlan &plan, AttachReport &report)
      : options(options), plan(plan), report(report) {}

  Status readGlobs();
  Status readBase();
  Status makeRoom(const SlotRequest &slot);
  void place(const LoadedAdapter &adapter, const Update &update);
  /// Updates of parts of fused parameters, once all of an adapter's were seen.
  void placeFused(LoadedAdapter &adapter);

private:
  void placeModule(const LoadedAdapter &adapter, const Update &update);
  bool isIgnored(const std::string &module) const;
  void placeAt(const LoadedAdapter &adapter, const Update &update, ModuleTable &table,
               ModuleParameter *parameter, ModuleParameter *biasless, std::string note,
               const std::vector<PartUpdate> *parts = nullptr);
  bool placeElsewhere(const LoadedAdapter &adapter, const Update &update, size_t table);
  void leaveOver(const LoadedAdapter &adapter, const Update &update, const std::string &why);
  std::string explainMissing(const Update &update) const;
  PlannedParameter &planned(ModuleTable &table, ModuleParameter *parameter, ModuleParameter *biasless);

  const AttachOptions &options;
  AttachPlan &plan;
  AttachReport &report;
  std::vector<llvm::GlobPattern> globs;
  std::map<std::pair<ModuleParameter *, ModuleParameter *>, PlannedParameter *> byParameter;
  std::vector<std::unique_ptr<ContentIndex>> contents; // one for each table, where there is a base
  struct Fused {
    ModuleTable *table;
    std::vector<PartUpdate> parts;
  };
  // By parameter and form, in the order in which they come.
  llvm::MapVector<std::pair<ModuleParameter *, StringRef>, Fused> fused;
};
} // namespace

Status Planner::readGlobs() {
  for (const std::string &text : options.ignoreMissing) {
    llvm::Expected<llvm::GlobPattern> glob = llvm::GlobPattern::create(text);
    if (!glob)
      return Error{"--ignore-missing '" + text + "' is no glob: " + llvm::toString(glob.takeError())};
    globs.push_back(std::move(*glob));
  }
  return Done{};
}

bool Planner::isIgnored(const std::string &module) const {
  return llvm::any_of(globs, [&](const llvm::GlobPattern &glob) { return glob.match(module); });
}

void Planner::leaveOver(const LoadedAdapter &adapter, const Update &update, const std::string &why) {
  report.leftOver.push_back("adapter '" + adapter.request->name + "': module '" + update.module + "' (" +
                            update.parameter + ", " + update.form + "): " + why);
}

PlannedParameter &Planner::planned(ModuleTable &table, ModuleParameter *parameter,
                                   ModuleParameter *biasless) {
  PlannedParameter *&entry = byParameter[{parameter, biasless}];
  if (!entry) {
    plan.parameters.push_back(std::make_unique<PlannedParameter>());
    entry = plan.parameters.back().get();
    entry->table = &table;
    entry->parameter = parameter;
    entry->biasless = biasless;
  }
  return *entry;
}

// The weights that an exporter copied from a table; only their contents tell.
static std::vector<ModuleParameter *> tiedWeights(const ModuleTable &table,
                                                  const ModuleParameter &embedding) {
  std::vector<ModuleParameter *> result;
  if (embedding.kind == SiteKind::Embedding)
    for (const auto &[path, parameters] : table.modules())
      for (const auto &parameter : parameters)
        if (holdSameNumbers(embedding, *parameter))
          result.push_back(parameter.get());
  return result;
}

// The bias that a weight's module lacks, as it would be.
static ModuleParameter missingBias(const ModuleParameter &biasless) {
  ModuleParameter bias;
  bias.module = biasless.module;
  bias.parameter = "bias";
  bias.uses = biasless.uses;
  bias.shape = {biasless.shape[0]};
  return bias;
}

void Planner::placeAt(const LoadedAdapter &adapter, const Update &update, ModuleTable &table,
                      ModuleParameter *parameter, ModuleParameter *biasless, std::string note,
                      const std::vector<PartUpdate> *parts) {
  const ModuleParameter &target = parameter ? *parameter : missingBias(*biasless);
  bool isMixture = checkpoint::isMixtureForm(update.form);
  std::string why =
      isMixture ? whyMixtureUnfit({&adapter, &update}, target, table) : whyUnfit(update, target);
  if (!why.empty())
    return leaveOver(adapter, update, why);
  bool unchanged = parameter && changesNothing(update, *parameter);
  if (!unchanged) {
    PlannedParameter &entry = planned(table, parameter, biasless);
    bool replaces = update.form == "replace" && adapter.time == BindingTime::Build;
    for (const PlannedUpdate &other : entry.updates)
      if (replaces && other.update->form == "replace" && other.adapter->time == BindingTime::Build)
        return leaveOver(adapter, update,
                         "adapter '" + other.adapter->request->name +
                             "' replaces the same tensor; bind one of them at another time");
    for (const PlannedUpdate &other : entry.updates)
      if (checkpoint::isMixtureForm(other.update->form) && !actsBehindMixtures(update.form))
        return leaveOver(adapter, update,
                         "adapter '" + other.adapter->request->name +
                             "' is a mixture there, so that there is no weight which '" + update.form +
                             "' could replace or rescale; give the mixture last");
    if (entry.updates.empty() && parameter)
      entry.tied = tiedWeights(table, *parameter);
    entry.updates.push_back({&adapter, &update});
  }
  Placement row;
  row.adapter = adapter.request->name;
  row.module = update.module;
  row.parameter = update.parameter;
  row.graphModule = target.module;
  row.node = target.nodeName();
  row.model = target.model().getSymName().str();
  row.kind = target.kind;
  row.form = update.form;
  row.rank = update.rank;
  bool scales = update.form != "replace" && update.form != "rows";
  row.scale = scales ? update.scale * adapter.request->scale : 1.0;
  row.transposed = target.transposed;
  row.note = unchanged ? "unchanged" : note;
  if (!parts) {
    report.placements.push_back(std::move(row));
    return;
  }
  for (const PartUpdate &each : *parts) {
    row.module = each.update->module;
    row.rank = each.update->rank;
    row.scale = scales ? each.update->scale * adapter.request->scale : 1.0;
    row.note = "outputs " + std::to_string(each.part.offset) + " to " +
               std::to_string(each.part.offset + each.part.size - 1);
    report.placements.push_back(row);
  }
}

Status Planner::readBase() {
  if (options.base.empty())
    return Done{};
  Result<std::vector<checkpoint::Safetensors>> files = ContentIndex::read(options.base);
  if (!files)
    return files.error();
  for (const auto &table : plan.tables)
    contents.push_back(std::make_unique<ContentIndex>(*files, *table));
  return Done{};
}

// Where the graph does not have the module under its own name: under a builder's, in a fused parameter, or
// where the base's contents say.
bool Planner::placeElsewhere(const LoadedAdapter &adapter, const Update &update, size_t index) {
  ModuleTable &table = *plan.tables[index];
  for (const std::string &other : otherNames(update.module)) {
    Match match = matchModule(table, other, update.parameter);
    for (ModuleParameter *parameter : match.found)
      placeAt(adapter, update, table, parameter, nullptr, "");
    if (!match.found.empty())
      return true;
  }
  std::vector<FusedPart> parts;
  if (!contents.empty())
    parts = contents[index]->find(update.module, update.parameter);
  if (parts.empty())
    if (std::optional<FusedPart> part = findFused(table, update))
      parts.push_back(*part);
  for (const FusedPart &part : parts) {
    if (part.isWhole()) {
      placeAt(adapter, update, table, part.parameter, nullptr, "by contents");
    } else if (checkpoint::isMixtureForm(update.form)) {
      leaveOver(adapter, update,
                "a mixture cannot act on a part of a fused weight (" + part.parameter->nodeName() +
                    "); export the modules apart");
    } else if (outputsOf(update) != part.size) {
      leaveOver(adapter, update,
                "it has " + std::to_string(outputsOf(update)) + " outputs, the base's module " +
                    std::to_string(part.size));
    } else {
      Fused &entry = fused[{part.parameter, StringRef(update.form)}];
      entry.table = &table;
      entry.parts.push_back({&update, part});
    }
  }
  return !parts.empty();
}

void Planner::placeFused(LoadedAdapter &adapter) {
  for (auto &[key, entry] : fused) {
    Result<Update> whole = fuseUpdates(entry.parts);
    if (!whole) {
      leaveOver(adapter, *entry.parts.front().update, whole.error().message);
      continue;
    }
    adapter.fused.push_back(std::move(*whole));
    placeAt(adapter, adapter.fused.back(), *entry.table, key.first, nullptr, "", &entry.parts);
  }
  fused.clear();
}

std::string Planner::explainMissing(const Update &update) const {
  std::set<std::string> others;
  std::string nearest;
  for (const auto &table : plan.tables) {
    for (const std::string &name : parametersOf(*table, update.module))
      others.insert(name);
    for (const std::string &path : nearestModules(*table, update.module))
      nearest += (nearest.empty() ? "'" : ", '") + path + "'";
  }
  if (!others.empty()) {
    std::string list;
    for (const std::string &name : others)
      list += (list.empty() ? "'" : ", '") + name + "'";
    return "the graph has the module but not this parameter; it has " + list;
  }
  std::string candidates = nearest.empty()
                               ? "; it names no modules at all, --base CHECKPOINT finds them by contents"
                               : "; the nearest are " + nearest;
  return "the graph has no such module" + candidates + "; --ignore-missing '" + update.module +
         "' says that it is meant";
}

// A module stands at a residual sum; of a bottleneck `down` says how wide that is.
void Planner::placeModule(const LoadedAdapter &adapter, const Update &update) {
  bool anywhere = false;
  for (const auto &sums : plan.sums) {
    Result<ResidualSum *> found = sums->find(update.module, update.tensors.at("down").shape[1]);
    if (!found) {
      leaveOver(adapter, update, found.error().message);
      return;
    }
    if (!*found)
      continue;
    anywhere = true;
    auto known = llvm::find_if(plan.modules, [&](const auto &each) { return each->sum == *found; });
    if (known == plan.modules.end()) {
      plan.modules.push_back(std::make_unique<PlannedModules>(PlannedModules{*found, {}}));
      known = std::prev(plan.modules.end());
    }
    PlannedUpdate planned{&adapter, &update};
    if (std::string why = whyModuleUnfit(planned, **known); !why.empty())
      return leaveOver(adapter, update, why);
    (*known)->updates.push_back(planned);
    Placement row;
    row.adapter = adapter.request->name;
    row.module = update.module;
    row.parameter = update.parameter;
    row.graphModule = (*found)->module;
    row.node = (*found)->nodeName();
    row.model = sums->getModel().getSymName().str();
    row.kind = SiteKind::Bottleneck;
    row.form = update.form;
    row.rank = update.rank;
    row.scale = update.scale * adapter.request->scale;
    report.placements.push_back(std::move(row));
  }
  if (anywhere)
    return;
  if (isIgnored(update.module))
    report.ignored.push_back(update.module);
  else
    leaveOver(adapter, update, explainMissing(update));
}

void Planner::place(const LoadedAdapter &adapter, const Update &update) {
  if (checkpoint::isModuleForm(update.form))
    return placeModule(adapter, update);
  bool anywhere = false;
  for (size_t index = 0; index < plan.tables.size(); ++index) {
    const auto &table = plan.tables[index];
    Match match = matchModule(*table, update.module, update.parameter);
    // Token rows follow ties, so it does not matter which of the modules that share a table the checkpoint names.
    if (match.none() && update.tied)
      match.found = embeddingsCalled(*table, update.module);
    if (match.none()) {
      anywhere |= placeElsewhere(adapter, update, index);
      continue;
    }
    anywhere = true;
    if (!match.ambiguous.empty()) {
      std::string list;
      for (const std::string &path : match.ambiguous)
        list += (list.empty() ? "'" : ", '") + path + "'";
      leaveOver(adapter, update, "several modules of the graph could be meant: " + list);
      continue;
    }
    if (match.biasless) {
      placeAt(adapter, update, *table, nullptr, match.biasless, "new bias");
      continue;
    }
    for (ModuleParameter *parameter : match.found) {
      placeAt(adapter, update, *table, parameter, nullptr, "");
      if (!update.tied)
        continue;
      for (ModuleParameter *weight : tiedWeights(*table, *parameter))
        if (!llvm::is_contained(match.found, weight) && parameter == match.found.front())
          placeAt(adapter, update, *table, weight, nullptr, "tied");
    }
  }
  if (anywhere)
    return;
  if (isIgnored(update.module))
    report.ignored.push_back(update.module);
  else
    leaveOver(adapter, update, explainMissing(update));
}

//===----------------------------------------------------------------------===//
// Slots
//===----------------------------------------------------------------------===//

// Whether a glob names the module's path or an end of it, as PEFT's target_modules do.
static bool matchesEnd(const llvm::GlobPattern &glob, StringRef path) {
  while (!glob.match(path)) {
    size_t dot = path.find('.');
    if (dot == StringRef::npos)
      return false;
    path = path.drop_front(dot + 1);
  }
  return true;
}

Status Planner::makeRoom(const SlotRequest &slot) {
  std::vector<llvm::GlobPattern> wanted;
  for (const std::string &text : slot.modules) {
    llvm::Expected<llvm::GlobPattern> glob = llvm::GlobPattern::create(text);
    if (!glob)
      return Error{"slot '" + slot.name + "': '" + text +
                   "' is no glob: " + llvm::toString(glob.takeError())};
    wanted.push_back(std::move(*glob));
  }
  int64_t sites = 0;
  std::set<size_t> used;
  auto makeRoomAt = [&](ModuleTable &table, const ModuleParameter &target, ModuleParameter *parameter,
                        ModuleParameter *biasless) {
    PlannedRoom room{&slot, {}};
    llvm::copy_if(slot.forms, std::back_inserter(room.forms),
                  [&](const std::string &form) { return hasRoom(form, target); });
    if (room.forms.empty())
      return;
    PlannedParameter &entry = planned(table, parameter, biasless);
    bool isMixed = llvm::any_of(entry.updates, [](const PlannedUpdate &each) {
      return checkpoint::isMixtureForm(each.update->form);
    });
    if (isMixed)
      llvm::erase_if(room.forms, [](const std::string &form) { return !actsBehindMixtures(form); });
    if (room.forms.empty())
      return;
    if (entry.updates.empty() && entry.rooms.empty() && parameter)
      entry.tied = tiedWeights(table, *parameter);
    entry.rooms.push_back(std::move(room));
    ++sites;
  };
  for (const auto &table : plan.tables)
    for (const auto &[path, parameters] : table->modules()) {
      bool isWanted = wanted.empty();
      for (size_t i = 0; i < wanted.size(); ++i)
        if (matchesEnd(wanted[i], path)) {
          used.insert(i);
          isWanted = true;
        }
      if (!isWanted)
        continue;
      for (const auto &parameter : parameters)
        makeRoomAt(*table, *parameter, parameter.get(), nullptr);
      if (ModuleParameter *weight = table->findBiasless(path))
        makeRoomAt(*table, missingBias(*weight), nullptr, weight);
    }
  for (size_t i = 0; i < wanted.size(); ++i)
    if (!used.count(i))
      return Error{"slot '" + slot.name + "': the graph has no module '" + slot.modules[i] + "'"};
  if (!sites)
    return Error{"slot '" + slot.name + "': the graph has no place for " + llvm::join(slot.forms, ", ")};
  report.slots.push_back({slot.name, slot.time, slot.forms, slot.rank, sites});
  return Done{};
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

Status adapter::planAttach(ModuleOp module, const std::vector<AdapterRequest> &requests,
                           const std::vector<SlotRequest> &slots, const AttachOptions &options,
                           AttachPlan &plan, AttachReport &report) {
  for (auto model : module.getOps<onnxir::ModelOp>()) {
    plan.tables.push_back(std::make_unique<ModuleTable>(model));
    plan.sums.push_back(std::make_unique<ResidualSums>(model));
  }
  if (plan.tables.empty())
    return Error{"there is no onnx.model for adapters to act on"};
  Planner planner(options, plan, report);
  if (Status status = planner.readGlobs(); !status)
    return status;
  if (Status status = planner.readBase(); !status)
    return status;
  for (const AdapterRequest &request : requests) {
    Result<checkpoint::Adapter> contents = checkpoint::readAdapter(request.path);
    if (!contents)
      return contents.error();
    if (Status status = settleTask(request, *contents); !status)
      return status;
    if (request.time != BindingTime::Build)
      contents->foldMasks();
    plan.adapters.push_back(
        std::make_unique<LoadedAdapter>(LoadedAdapter{&request, std::move(*contents), request.time, {}}));
    if (needsRanks(plan.adapters.back()->contents))
      for (const auto &table : plan.tables)
        if (failed(inferShapes(table->getModel())))
          return Error{"adapter '" + request.name + "': the shapes of the graph's values cannot be inferred"};
    for (const Update &update : plan.adapters.back()->contents.updates)
      planner.place(*plan.adapters.back(), update);
    planner.placeFused(*plan.adapters.back());
  }
  if (Status status = checkFirstPasses(plan); !status)
    return status;
  for (const SlotRequest &slot : slots)
    if (Status status = planner.makeRoom(slot); !status)
      return status;
  chooseTimes(plan, options, report);
  return Done{};
}
