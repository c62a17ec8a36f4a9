// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Room for adapters that arrive later: at every parameter that a form of the slot could act on with certainty.
#include "lib/Attach/Derivations.h"
#include "lib/Attach/FormUse.h"
#include "lib/Attach/Forms.h"
#include "lib/Attach/Mixtures.h"
#include "lib/Attach/Plan.h"
#include "lib/Checkpoint/Text.h"
#include "lib/Forms/FormLibrary.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/GlobPattern.h"
#include <set>

using namespace mlir;
using namespace adapter;
using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Status;

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

// Whether a module has several tensors of different numbers for a parameter, of which none can be it.
static bool isUnclear(const std::vector<std::unique_ptr<ModuleParameter>> &parameters,
                      const ModuleParameter &one) {
  return llvm::any_of(parameters, [&](const auto &other) {
    return other->parameter == one.parameter && other->kind == one.kind && other->value && one.value &&
           !holdEqualNumbers(*other, one);
  });
}

// Trained tokens reach every reader of their table: those that hold its numbers get room too, and where one cannot follow
// there is no room for tokens.
static void followTies(const SlotRequest &slot, AttachPlan &plan) {
  for (size_t i = 0, count = plan.parameters.size(); i < count; ++i) {
    PlannedParameter &planned = *plan.parameters[i];
    auto room = llvm::find_if(planned.rooms, [&](const PlannedRoom &each) {
      return each.slot == &slot && llvm::is_contained(each.forms, "rows");
    });
    if (room == planned.rooms.end() || !planned.parameter || planned.parameter->kind != SiteKind::Embedding)
      continue;
    std::vector<const ModuleParameter *> reached{planned.parameter};
    llvm::append_range(reached, planned.tied);
    bool follows =
        llvm::all_of(ModuleTable::readersOf(planned.parameter->value), [&](const ParameterUse &reader) {
          return llvm::any_of(reached, [&](const ModuleParameter *each) { return each->isReadBy(reader); });
        });
    if (!follows) {
      llvm::erase(room->forms, "rows");
      if (room->forms.empty())
        planned.rooms.erase(room);
      continue;
    }
    for (ModuleParameter *weight : std::vector<ModuleParameter *>(planned.tied)) {
      PlannedParameter &follower = plan.planned(weight, nullptr);
      auto own = llvm::find_if(follower.rooms, [&](const PlannedRoom &each) { return each.slot == &slot; });
      if (own == follower.rooms.end())
        follower.rooms.push_back({&slot, {"rows"}});
      else if (!llvm::is_contained(own->forms, "rows"))
        own->forms.push_back("rows");
    }
  }
}

// Slots name forms by the words of the command line, and definitions by their names.
static Status checkForms(const SlotRequest &slot, MLIRContext *context) {
  static const std::vector<std::string> others = {
      "add",  "lora",    "lora+dora", "lora_embedding",  "lora_embedding+dora",
      "rows", "replace", "sparse",    "sparse+overwrite"};
  for (const std::string &form : slot.forms) {
    if (llvm::is_contained(others, form) || isDefinition(form, context))
      continue;
    std::vector<std::string> known = {"add",       "dora",    "embedding", "lora",
                                      "overwrite", "replace", "rows",      "sparse"};
    for (FormOp each : FormLibrary::get(context).all())
      if (!llvm::is_contained(known, each.getSymName().str()))
        known.push_back(each.getSymName().str());
    llvm::sort(known);
    return Error{"slot '" + slot.name + "': there is no form '" + form + "'; the forms are " +
                 llvm::join(known, ", ") + checkpoint::didYouMean(form, known)};
  }
  return Done{};
}

void adapter::nameVariants(SlotRequest &slot, MLIRContext *context) {
  FormLibrary &library = FormLibrary::get(context);
  std::set<std::string> used;
  std::vector<std::string> named;
  auto isMeant = [&](const std::string &variant) {
    return (llvm::is_contained(slot.forms, variant) && !library.has(variant)) ||
           (variant == "dora" && llvm::is_contained(slot.forms, "lora+dora"));
  };
  for (const std::string &form : slot.forms) {
    std::set<std::string> variants;
    for (FormOp each : library.all())
      if (isDefinition(form, context) && each.getSymName().split('.').first == form)
        for (const forms::Role &role : each.getSignature().roles)
          if (form != "lora" && isMeant(role.variant))
            variants.insert(role.variant);
    used.insert(variants.begin(), variants.end());
    // Each of them may be there or not, alone or beside the others.
    std::vector<std::string> names{form};
    for (const std::string &variant : variants)
      for (size_t i = 0, count = names.size(); i < count; ++i)
        names.push_back(names[i] + "+" + variant);
    llvm::append_range(named, names);
  }
  // "dora" was taken for what it makes of LoRA.
  bool isOthers = used.count("dora") && !llvm::is_contained(slot.forms, "lora");
  llvm::erase_if(named, [&](const std::string &form) {
    return used.count(form) > 0 || (isOthers && form == "lora+dora");
  });
  slot.forms = std::move(named);
}

Status adapter::makeRoom(const SlotRequest &slot, AttachPlan &plan, AttachReport &report) {
  if (Status status = checkForms(slot, plan.tables.front()->getModel().getContext()); !status)
    return status;
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
    PlannedParameter &entry = plan.planned(parameter, biasless);
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
        if (!isUnclear(parameters, *parameter) && table->unknownReader(*parameter).empty())
          makeRoomAt(*table, *parameter, parameter.get(), nullptr);
      if (ModuleParameter *weight = table->findBiasless(path))
        makeRoomAt(*table, missingBias(*weight), nullptr, weight);
    }
  followTies(slot, plan);
  for (size_t i = 0; i < wanted.size(); ++i)
    if (!used.count(i))
      return Error{"slot '" + slot.name + "': the graph has no module '" + slot.modules[i] + "'"};
  if (!sites)
    return Error{"slot '" + slot.name + "': the graph has no place for " + llvm::join(slot.forms, ", ")};
  report.slots.push_back({slot.name, slot.time, slot.forms, slot.rank, sites});
  return Done{};
}

Status adapter::checkRooms(const checkpoint::BaseModel &base, const AttachOptions &options,
                           AttachPlan &plan) {
  std::vector<ModuleParameter *> parameters;
  std::vector<checkpoint::MatchItem> items;
  for (const auto &planned : plan.parameters) {
    if (planned->rooms.empty() || !planned->parameter || planned->parameter->module.empty())
      continue;
    parameters.push_back(planned->parameter);
    items.push_back({planned->parameter->module, planned->parameter->parameter, {}});
    for (const checkpoint::Tensor *tensor : base.tensors()) {
      StringRef key = tensor->key;
      if (key.consume_back("." + planned->parameter->parameter) &&
          checkpoint::pathsMatch(key.str(), planned->parameter->module))
        items.back().candidates.push_back({key.str(), true});
    }
  }
  checkpoint::MatchResult match = checkpoint::matchModules(items, "");
  std::string differing;
  for (size_t i = 0; i < items.size(); ++i) {
    const checkpoint::Tensor *expected =
        match.paths[i].empty() ? nullptr : base.find(match.paths[i] + "." + items[i].parameter);
    if (!expected)
      continue;
    Comparison comparison = compareWithBase({parameters[i], 0, parameters[i]->shape[0]}, *expected);
    if (comparison.problem.empty() && !comparison.derivation)
      differing += (differing.empty() ? "'" : ", '") + expected->key + "'";
  }
  if (!differing.empty() && !options.allowOtherBase)
    return Error{"the graph is not what " + base.path() + " holds: " + differing +
                 " differ; export that model, or say with --allow-other-base that it is meant"};
  plan.slotBase = base.digest();
  return Done{};
}
