// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Claims.h. First names: each module's candidates in each graph, and one root for all (lib/Checkpoint/ModuleMatch).
// Then contents, where names say nothing and a base is at hand. What two graphs hold of one parameter must be equal.
#include "lib/Attach/Claims.h"
#include "lib/Attach/Forms.h"
#include "lib/Attach/GraphNames.h"
#include "lib/Checkpoint/Bottleneck.h"
#include <cstring>

using namespace mlir;
using namespace adapter;
using checkpoint::Candidate;
using checkpoint::Done;
using checkpoint::MatchItem;
using checkpoint::MatchResult;
using checkpoint::Status;
using checkpoint::Tensor;
using checkpoint::Update;

//===----------------------------------------------------------------------===//
// Candidates
//===----------------------------------------------------------------------===//

// torch's MultiheadAttention multiplies by its weights itself, and exporters rename them: the one of q, k and v is
// three times as long as wide.
static std::vector<ModuleParameter *> findParameter(const ModuleTable &table, const std::string &path,
                                                    const std::string &parameter) {
  bool isPacked = parameter == "in_proj_weight", isOutput = parameter == "out_proj.weight";
  std::vector<ModuleParameter *> found =
      isOutput ? table.find(path + ".out_proj", "weight") : table.find(path, parameter);
  if (!found.empty() || (!isPacked && !isOutput))
    return found;
  for (ModuleParameter *each : table.find(path, "weight")) {
    bool isLong = each->shape.size() == 2 && each->shape[0] == 3 * each->shape[1];
    if (each->kind == SiteKind::Linear && isLong == isPacked)
      found.push_back(each);
  }
  return found;
}

static bool hasParameter(const ModuleTable &table, const std::string &path, const std::string &parameter) {
  return !findParameter(table, path, parameter).empty() || (parameter == "bias" && table.findBiasless(path));
}

// The path of a module beside another one: of the same parent, with another name.
static std::string besides(StringRef path, StringRef name) {
  size_t dot = path.rfind('.');
  return dot == StringRef::npos ? name.str() : (path.take_front(dot + 1) + name).str();
}

static StringRef lastName(StringRef path) {
  size_t dot = path.rfind('.');
  return dot == StringRef::npos ? path : path.drop_front(dot + 1);
}

namespace {
// In which way a graph's path stands for a module's.
enum class Way { Itself, Fused, Split };
} // namespace

// What the checkpoint would call the module that a path stands for in some way; "" where it is none.
static std::string nameIn(Way way, const std::string &spelling, const Update &update) {
  const std::string &module = update.module;
  StringRef own = lastName(module), name = lastName(spelling);
  if (way == Way::Itself)
    return checkpoint::pathsMatch(spelling, update) ? checkpoint::spelledFor(spelling, update) : "";
  if (update.flattened)
    return "";
  if (way == Way::Fused) {
    std::optional<FusedName> fused = fusedNameOf(own);
    return fused && fused->whole == name ? besides(spelling, own) : "";
  }
  ArrayRef<const char *> parts = partNamesOf(own);
  return !parts.empty() && name == parts.front() ? besides(spelling, own) : "";
}

// The last name of paths that can stand for a module in some way; "" where any can.
static StringRef lastNameIn(Way way, const Update &update) {
  StringRef own = lastName(update.module);
  if (update.flattened)
    return "";
  if (way == Way::Itself)
    return own;
  if (way == Way::Split)
    return partNamesOf(own).empty() ? "-" : partNamesOf(own).front();
  return wholeNameOf(own).empty() ? "-" : wholeNameOf(own);
}

bool Claims::fits(const Item &item, const ModuleParameter &parameter, bool byContents) const {
  for (const Update *update : updates.at(item))
    if (!whyUnfit(*update, parameter).empty())
      return false;
  const Tensor *expected = byContents ? baseTensor(item.first, item.second) : nullptr;
  if (!expected || !parameter.value)
    return true;
  FusedPart whole{const_cast<ModuleParameter *>(&parameter), 0, parameter.shape[0]};
  Comparison comparison = compareWithBase(whole, *expected);
  return comparison.derivation.has_value();
}

// A path that stands for the module itself counts before one that is fused, which counts before a split one.
void Claims::addCandidates(size_t index, MatchItem &item, bool byContents) {
  ModuleTable &table = *tables[index];
  const Update &update = *updates.at({item.module, item.parameter}).front();
  if (!checkpoint::canHoldPart(table.getModel().getSymName().str(), update.part))
    return;
  bool hasPart = !update.part.empty() && llvm::any_of(table.modules(), [&](const auto &each) {
    return checkpoint::isInPart(each.first, update.part);
  });
  for (Way way : {Way::Itself, Way::Fused, Way::Split}) {
    std::vector<const Spelling *> spellings = spellingsFor(index, lastNameIn(way, update));
    for (size_t rank = 0; rank < maxSpellings && item.candidates.empty(); ++rank)
      for (const Spelling *spelling : spellings) {
        const std::string &path = *spelling->path;
        if (spelling->rank != rank || (hasPart && !checkpoint::isInPart(path, update.part)))
          continue;
        std::string name = nameIn(way, spelling->text, update);
        bool isMeant = !name.empty() && (way == Way::Itself || checkpoint::pathsMatch(name, item.module));
        if (!isMeant || !hasParameter(table, path, item.parameter))
          continue;
        std::vector<ModuleParameter *> found = findParameter(table, path, item.parameter);
        bool isFit = way != Way::Itself || found.empty() ||
                     fits({item.module, item.parameter}, *found.front(), byContents);
        item.candidates.push_back({name, isFit, path});
      }
  }
}

// All spellings of a graph's paths that end with a name; "": all of them, in the order of the paths.
std::vector<const Claims::Spelling *> Claims::spellingsFor(size_t table, StringRef lastName) {
  std::map<std::string, std::vector<Spelling>> &known = spelled[table];
  if (known.empty())
    for (const auto &[path, parameters] : tables[table]->modules()) {
      std::vector<std::string> texts = spellingsOf(path);
      for (size_t rank = 0; rank < texts.size(); ++rank)
        known[::lastName(texts[rank]).str()].push_back({&path, rank, texts[rank]});
    }
  std::vector<const Spelling *> result;
  for (auto &[name, all] : known)
    if (lastName.empty() || lastName == name)
      for (const Spelling &each : all)
        result.push_back(&each);
  return result;
}

std::vector<MatchItem> Claims::candidatesIn(size_t table, bool byContents) {
  std::vector<MatchItem> result;
  for (const Item &item : items) {
    result.push_back({item.first, item.second, {}});
    addCandidates(table, result.back(), byContents);
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

// What a path of the graph has of an update's parameter: the module's own tensors, a part of a fused one, or those of the
// modules that it is split into.
void Claims::fillClaim(Claim &claim, ModuleTable &table, const std::string &path,
                       const Update &update) const {
  std::vector<ModuleParameter *> found = findParameter(table, path, update.parameter);
  StringRef own = lastName(update.module), name = lastName(path);
  std::optional<FusedName> fused = fusedNameOf(own);
  ArrayRef<const char *> parts = partNamesOf(own);
  if (fused && fused->whole == name && !update.flattened) {
    if (found.size() == 1)
      if (std::optional<FusedPart> part = partOf(*found.front(), update, *fused))
        claim.parts.push_back(*part);
    return;
  }
  if (!parts.empty() && name == parts.front() && !update.flattened) {
    for (const char *each : parts)
      if (std::vector<ModuleParameter *> piece = table.find(besides(path, each), update.parameter);
          piece.size() == 1)
        claim.split.push_back(piece.front());
    if (claim.split.size() != parts.size())
      claim.split.clear();
    return;
  }
  fillOwn(claim, found, update);
  if (found.empty())
    claim.biasless = table.findBiasless(path);
}

// Nodes without names that read one tensor as a table and as a weight: the tensor's name is that of one of the two.
void Claims::fillOwn(Claim &claim, const std::vector<ModuleParameter *> &found, const Update &update) const {
  bool isMixed = llvm::any_of(found, [&](ModuleParameter *each) {
    return each->kind != found.front()->kind && each->kind != SiteKind::Vector &&
           found.front()->kind != SiteKind::Vector;
  });
  std::optional<SiteKind> kind = kindOf({update.module, update.parameter});
  if (isMixed && !kind && !update.tied) {
    claim.problem = "the graph reads the tensor as a table and as a weight (" + found.front()->nodeName() +
                    ", " + found.back()->nodeName() + "), in nodes that name no module; export with names";
    return;
  }
  for (ModuleParameter *each : found)
    if (!isMixed || !kind || each->kind == *kind)
      claim.parts.push_back({each, 0, each->shape[0]});
}

// Fills the claim of each item whose path is settled.
void Claims::takePaths(size_t index, const MatchResult &match) {
  ModuleTable &table = *tables[index];
  for (size_t i = 0; i < items.size(); ++i) {
    const std::string &module = items[i].first;
    const Update &update = *updates.at(items[i]).front();
    Claim claim;
    claim.problem = match.problems[i];
    claim.isElsewhere = match.isElsewhere[i];
    leftOut[index][items[i]] = match.paths[i].size() < module.size();
    if (!match.places[i].empty())
      fillClaim(claim, table, match.places[i], update);
    claims[index][items[i]] = std::move(claim);
  }
}

// The graph could be one of several parts of the model: those that have another graph are out.
void Claims::settleNames() {
  std::vector<MatchResult> matches(tables.size());
  std::vector<std::vector<MatchItem>> candidates(tables.size());
  auto nameOf = [&](size_t table) { return tables[table]->getModel().getSymName().str(); };
  for (size_t table = 0; table < tables.size(); ++table) {
    candidates[table] = candidatesIn(table, /*byContents=*/false);
    matches[table] = checkpoint::matchModules(candidates[table], nameOf(table), ignoredRoots);
    bool isClear =
        llvm::all_of(matches[table].problems, [](const std::string &text) { return text.empty(); });
    if (isClear || !base())
      continue;
    candidates[table] = candidatesIn(table, /*byContents=*/true);
    matches[table] =
        checkpoint::matchModules(candidates[table], nameOf(table), ignoredRoots, /*byContents=*/true);
  }
  for (size_t round = 0; round < tables.size(); ++round) {
    std::set<std::string> chosen = ignoredRoots;
    for (const MatchResult &match : matches)
      if (!match.root.empty())
        chosen.insert(match.root);
    for (size_t table = 0; table < tables.size(); ++table)
      if (!matches[table].rivals.empty())
        matches[table] =
            checkpoint::matchModules(candidates[table], nameOf(table), chosen, base() != nullptr);
  }
  for (size_t table = 0; table < tables.size(); ++table)
    takePaths(table, matches[table]);
}

// A parameter has one value. Tensors of different numbers are not the same parameter, in one graph or in several.
void Claims::refuseDifferent() {
  for (const Item &item : items) {
    struct Holder {
      size_t table;
      ModuleParameter *parameter;
    };
    std::vector<Holder> holders;
    for (size_t table = 0; table < tables.size(); ++table)
      for (const FusedPart &part : claims[table][item].parts)
        if (part.isWhole() && part.parameter->value)
          holders.push_back({table, part.parameter});
    for (size_t i = 1; i < holders.size(); ++i) {
      const Holder &a = holders[0], &b = holders[i];
      if (a.parameter == b.parameter || a.parameter->kind != b.parameter->kind ||
          holdEqualNumbers(*a.parameter, *b.parameter))
        continue;
      // A graph that has the module's whole path counts before one that has the end of it.
      bool first = leftOut[a.table][item], second = leftOut[b.table][item];
      std::string problem = "the graph holds different numbers for it (" + a.parameter->nodeName() + ", " +
                            b.parameter->nodeName() +
                            "), which cannot both be it; --map 'OLD=NEW' says which is meant";
      for (size_t table : {a.table, b.table})
        if (a.table == b.table || first == second || leftOut[table][item]) {
          claims[table][item] = Claim();
          claims[table][item].problem = problem;
        }
    }
  }
}

//===----------------------------------------------------------------------===//
// Contents
//===----------------------------------------------------------------------===//

ContentIndex &Claims::contentsOf(size_t table) {
  std::unique_ptr<ContentIndex> &index = current->contents[table];
  if (!index)
    index = std::make_unique<ContentIndex>(*current->model, *tables[table]);
  return *index;
}

// What an item's updates say of its kind.
std::optional<SiteKind> Claims::kindOf(const Item &item) const {
  for (const Update *update : updates.at(item)) {
    if (update->layer == checkpoint::Layer::Embedding)
      return SiteKind::Embedding;
    if (update->layer == checkpoint::Layer::Product || update->mixture)
      return SiteKind::Linear;
  }
  return std::nullopt;
}

// A checkpoint whose head is tied to the table of its embedding lists the table alone. The head is what multiplies by
// those numbers.
ContentIndex::Place Claims::findTiedHead(size_t table, const Item &item) {
  ContentIndex::Place found;
  if (item.second != "weight" || kindOf(item).value_or(SiteKind::Linear) != SiteKind::Linear)
    return found;
  for (const Tensor *tensor : base()->tensors()) {
    ContentIndex::Place lookup = contentsOf(table).find(tensor->key, SiteKind::Embedding);
    ContentIndex::Place product = contentsOf(table).find(tensor->key, SiteKind::Linear);
    bool isTied = tensor->shape.size() == 2 && !lookup.parts.empty() && product.parts.size() == 1;
    if (!isTied || !product.parts.front().isWhole() || !product.parts.front().parameter->module.empty() ||
        !fits(item, *product.parts.front().parameter, /*byContents=*/false))
      continue;
    if (!found.parts.empty())
      return {};
    found = product;
  }
  return found;
}

// Why numbers that the graph holds in several modules do not say which of them is meant. An adapter on a table that two
// others are tied to (BART's `shared`) changes neither in PEFT: nobody calls that module.
std::string Claims::whySeveralModules(const Item &item, const ContentIndex::Place &place) const {
  std::vector<std::string> modules;
  for (const FusedPart &part : place.parts)
    if (!part.parameter->module.empty() && !llvm::is_contained(modules, part.parameter->module))
      modules.push_back(part.parameter->module);
  bool follows = llvm::all_of(updates.at(item), [](const Update *update) { return update->tied; });
  bool isNamed = llvm::any_of(
      modules, [&](const std::string &module) { return checkpoint::pathsMatch(module, item.first); });
  if (modules.size() < 2 || follows || isNamed)
    return "";
  return "the graph holds its numbers in '" + llvm::join(modules, "', '") +
         "', tied modules of other names, which an adapter on '" + item.first +
         "' does not reach; --ignore-missing '" + item.first + "' leaves it out, --map '" + item.first + "=" +
         modules.front() + "' says which one is meant";
}

void Claims::settleContents(size_t table) {
  for (const Item &item : items) {
    Claim &claim = claims[table][item];
    auto key = baseKeys.find(item);
    if (!claim.none())
      continue;
    ContentIndex::Place place =
        key == baseKeys.end() ? findTiedHead(table, item) : contentsOf(table).find(key->second, kindOf(item));
    if (std::string why = whySeveralModules(item, place); !why.empty())
      place = {{}, why};
    if (!place.parts.empty()) {
      claim.parts = place.parts;
      claim.byContents = true;
      claim.problem.clear();
    } else if (!place.problem.empty() && claim.problem.empty()) {
      claim.problem = place.problem;
    }
  }
}

//===----------------------------------------------------------------------===//
// All of it
//===----------------------------------------------------------------------===//

Status Claims::settle(const checkpoint::Adapter &adapter,
                      const std::function<bool(const std::string &)> &isIgnored) {
  items.clear();
  updates.clear();
  baseKeys.clear();
  differing.clear();
  compared = 0;
  hasPlaces = false;
  ignoredRoots.clear();
  spelled.resize(tables.size());
  claims.assign(tables.size(), {});
  leftOut.assign(tables.size(), {});
  for (const Update &update : adapter.updates) {
    if (isIgnored(update.module))
      for (size_t dot = update.module.find('.'); dot != std::string::npos;
           dot = update.module.find('.', dot + 1))
        ignoredRoots.insert(update.module.substr(0, dot));
    if (update.bottleneck || isIgnored(update.module))
      continue;
    Item item{update.module, update.parameter};
    if (updates[item].empty())
      items.push_back(item);
    updates[item].push_back(&update);
  }
  if (Status status = openBase(adapter); !status)
    return status;
  if (base())
    matchBaseKeys();
  settleNames();
  for (size_t table = 0; base() && table < tables.size(); ++table)
    settleContents(table);
  refuseDifferent();
  return Done{};
}

const Claim &Claims::find(size_t table, const Update &update) const {
  static const Claim none;
  auto found = claims[table].find({update.module, update.parameter});
  return found == claims[table].end() ? none : found->second;
}
