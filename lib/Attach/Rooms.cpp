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
using checkpoint::Result;
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

// What is put into rows of a table, trained tokens, reaches every reader of it: those that hold its numbers get room too,
// and where one cannot follow there is no room for it.
static void followTies(const SlotRequest &slot, AttachPlan &plan) {
  for (size_t i = 0, count = plan.parameters.size(); i < count; ++i) {
    PlannedParameter &planned = *plan.parameters[i];
    auto room = llvm::find_if(planned.rooms, [&](const PlannedRoom &each) { return each.slot == &slot; });
    if (room == planned.rooms.end() || !planned.parameter || planned.parameter->kind != SiteKind::Embedding)
      continue;
    std::vector<std::string> following;
    llvm::copy_if(room->forms, std::back_inserter(following),
                  [&](const std::string &form) { return !traitsAt(form, *planned.parameter).rows.empty(); });
    if (following.empty())
      continue;
    std::vector<const ModuleParameter *> reached{planned.parameter};
    llvm::append_range(reached, planned.tied);
    bool follows =
        llvm::all_of(ModuleTable::readersOf(planned.parameter->value), [&](const ParameterUse &reader) {
          return llvm::any_of(reached, [&](const ModuleParameter *each) { return each->isReadBy(reader); });
        });
    if (!follows) {
      llvm::erase_if(room->forms,
                     [&](const std::string &form) { return llvm::is_contained(following, form); });
      if (room->forms.empty())
        planned.rooms.erase(room);
      continue;
    }
    for (ModuleParameter *weight : std::vector<ModuleParameter *>(planned.tied)) {
      PlannedParameter &follower = plan.planned(weight, nullptr);
      auto own = llvm::find_if(follower.rooms, [&](const PlannedRoom &each) { return each.slot == &slot; });
      if (own == follower.rooms.end())
        own = follower.rooms.insert(own, {&slot, {}});
      for (const std::string &form : following)
        if (!llvm::is_contained(own->forms, form))
          own->forms.push_back(form);
    }
  }
}

namespace {
// The forms of a slot, with variants behind a "+"; those of factors have room at tables of embeddings only if asked.
struct SlotForms {
  std::vector<std::string> names, atTables;
};

class FormWords {
public:
  FormWords(const SlotRequest &slot, MLIRContext *context);
  Result<SlotForms> read() const;

private:
  std::vector<std::string> withVariants(const std::vector<std::string> &named) const;

  const SlotRequest &slot;
  std::set<std::string> names, factors; // of all forms; of those of factors that act on tables
  std::map<std::string, std::set<std::string>> variants;
};
} // namespace

static constexpr const char *tableWord = "embedding";

FormWords::FormWords(const SlotRequest &slot, MLIRContext *context) : slot(slot) {
  for (FormOp form : FormLibrary::get(context).all()) {
    std::string name = methodOf(form).str();
    names.insert(name);
    for (const forms::Role &role : form.getSignature().roles)
      if (!role.variant.empty())
        variants[name].insert(role.variant);
    if (form.getSignature().actsOn("embedding") && traitsOf(form).isFactors())
      factors.insert(name);
  }
}

// The named forms and the variants that the slot asks for, of other forms where no named one has them. Each may be there or
// not, alone or beside the others.
std::vector<std::string> FormWords::withVariants(const std::vector<std::string> &named) const {
  std::set<std::string> ofNamed;
  for (const std::string &form : named)
    if (auto own = variants.find(form); own != variants.end())
      ofNamed.insert(own->second.begin(), own->second.end());
  std::vector<std::string> result = named;
  for (const auto &[form, own] : variants) {
    bool isNamed = llvm::is_contained(named, form);
    std::vector<std::string> forms{form};
    for (const std::string &word : std::set<std::string>(slot.words.begin(), slot.words.end()))
      if (own.count(word) && (isNamed || !ofNamed.count(word)))
        for (size_t i = 0, count = forms.size(); i < count; ++i)
          forms.push_back(forms[i] + "+" + word);
    result.insert(result.end(), forms.begin() + 1, forms.end());
  }
  return result;
}

Result<SlotForms> FormWords::read() const {
  std::set<std::string> known = names;
  std::vector<std::string> named, tables;
  known.insert(tableWord);
  for (const auto &[name, own] : variants)
    known.insert(own.begin(), own.end());
  bool isAtTables = false;
  for (const std::string &word : slot.words) {
    if (word == tableWord)
      isAtTables = true;
    else if (!known.count(word))
      return Error{"slot '" + slot.name + "': there is no form '" + word + "'; the forms are " +
                   llvm::join(known, ", ") + checkpoint::didYouMean(word, {known.begin(), known.end()})};
    bool isNew = !llvm::is_contained(named, word);
    if (names.count(word) && isNew)
      named.push_back(word);
    if (factors.count(word) && isNew)
      tables.push_back(word);
  }
  SlotForms result{withVariants(named), {}};
  if (isAtTables)
    result.atTables =
        withVariants(tables.empty() ? std::vector<std::string>(factors.begin(), factors.end()) : tables);
  return result;
}

Status adapter::makeRoom(const SlotRequest &slot, AttachPlan &plan, AttachReport &report) {
  Result<SlotForms> forms = FormWords(slot, plan.tables.front()->getModel().getContext()).read();
  if (!forms)
    return forms.error();
  std::vector<std::string> all = forms->names;
  llvm::copy_if(forms->atTables, std::back_inserter(all),
                [&](const std::string &form) { return !llvm::is_contained(forms->names, form); });
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
    llvm::copy_if(all, std::back_inserter(room.forms), [&](const std::string &form) {
      bool asked = target.kind == SiteKind::Embedding && traitsAt(form, target).isFactors();
      return llvm::is_contained(asked ? forms->atTables : forms->names, form) && hasRoom(form, target);
    });
    if (room.forms.empty())
      return;
    PlannedParameter &entry = plan.planned(parameter, biasless);
    bool isMixed = llvm::any_of(entry.updates,
                                [](const PlannedUpdate &each) { return each.update->mixture.has_value(); });
    if (isMixed)
      llvm::erase_if(room.forms, [&](const std::string &form) { return !traitsAt(form, target).adds; });
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
    return Error{"slot '" + slot.name + "': the graph has no place for " + llvm::join(all, ", ")};
  plan.slotForms[slot.name] = all;
  report.slots.push_back({slot.name, slot.time, all, slot.rank, sites});
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
