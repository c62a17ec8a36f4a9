// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Planner.h. Claims say where a parameter is, forms whether the update fits there.
#include "lib/Attach/Planner.h"
#include "lib/Attach/BaseTerm.h"
#include "lib/Attach/FormUse.h"
#include "lib/Attach/Forms.h"
#include "lib/Attach/Match.h"
#include "lib/Attach/Mixtures.h"
#include "lib/Attach/Modules.h"
#include "lib/Attach/Norms.h"
#include "lib/Attach/Verdict.h"
#include "lib/Checkpoint/Bottleneck.h"
#include "lib/Checkpoint/DType.h"
#include <cmath>
#include <set>

using namespace mlir;
using namespace adapter;
using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;
using checkpoint::Update;

Status Planner::readOptions() {
  for (const std::string &text : options.ignoreMissing) {
    llvm::Expected<llvm::GlobPattern> glob = llvm::GlobPattern::create(text);
    if (!glob)
      return Error{"--ignore-missing '" + text + "' is not a glob: " + llvm::toString(glob.takeError())};
    globs.push_back(std::move(*glob));
  }
  return Done{};
}

bool Planner::isIgnored(const std::string &module) const {
  return llvm::any_of(globs, [&](const llvm::GlobPattern &glob) { return glob.match(module); });
}

void Planner::leaveOver(const Update &update, const std::string &why) {
  report.leftOver.push_back(
      {adapter->request->name, update.module, update.parameter + ", " + update.formText(), why});
}

//===----------------------------------------------------------------------===//
// One update at one parameter
//===----------------------------------------------------------------------===//

// Whether two updates set the same rows of a table.
static bool haveCommonRows(const Update &a, const Update &b, const ModuleParameter &parameter) {
  FormTraits first = traitsOf(a, parameter), second = traitsOf(b, parameter);
  if (first.rows.empty() || second.rows.empty())
    return false;
  auto rowsOf = [](const checkpoint::Tensor &tensor) {
    Result<checkpoint::Tensor> wide = checkpoint::toI64(tensor);
    std::set<int64_t> rows;
    if (wide)
      rows.insert(reinterpret_cast<const int64_t *>(wide->data),
                  reinterpret_cast<const int64_t *>(wide->data) + wide->elements());
    return rows;
  };
  std::set<int64_t> known = rowsOf(a.tensors.at(first.rows));
  return llvm::any_of(rowsOf(b.tensors.at(second.rows)), [&](int64_t row) { return known.count(row) > 0; });
}

// Why an update cannot act on a tensor together with what acts there already; "" where it can.
std::string Planner::whyTaken(const Update &update, const Target &target) {
  bool isTied = target.note == "tied";
  auto [owner, isFirst] = owners.try_emplace(
      {target.parameter ? target.parameter : target.biasless, target.parameter ? 0 : 1}, update.module);
  if (!isFirst && !isTied && owner->second != update.module)
    return "the graph has it in the tensor of '" + owner->second +
           "' of the same adapter; --map 'OLD=NEW' says which is meant";
  bool isBuild = adapter->time == BindingTime::Build;
  const ModuleParameter &parameter = target.parameter ? *target.parameter : missingBias(*target.biasless);
  bool replaces = traitsOf(update, parameter).replaces;
  for (const PlannedUpdate &other : plan.planned(target.parameter, target.biasless).updates) {
    bool isOther = isBuild && other.adapter->time == BindingTime::Build && other.adapter != adapter;
    const std::string &name = other.adapter->request->name;
    if (isOther && replaces && traitsOf(*other.update, parameter).replaces)
      return "adapter '" + name + "' replaces the same tensor; bind one of them at another time";
    if (isOther && replaces)
      return "adapter '" + name +
             "' acts there already, and would be lost under what replaces the tensor; give the one that "
             "replaces first";
    if (isOther && haveCommonRows(update, *other.update, parameter))
      return "adapter '" + name + "' replaces some of the same rows; bind one of them at another time";
    if (other.update->mixture && !actsBehindMixtures(update, parameter))
      return "adapter '" + other.adapter->request->name +
             "' is a mixture there, so that there is no weight which '" + labelOf(update, parameter) +
             "' could replace or rescale; give the mixture last";
  }
  return "";
}

// Exporters keep one of the two names of a tied tensor. Where no node says of which module it is, that name does not say
// which side of the tie an update means, unless its form does.
static std::string whyTieUnclear(const Update &update, const ModuleParameter &parameter,
                                 const ModuleTable &table) {
  bool isKnown = !parameter.isNamedByTensor || update.tied || !traitsOf(update, parameter).replaces;
  if (isKnown || !parameter.value || parameter.kind == SiteKind::Vector)
    return "";
  std::string other;
  table.forEach([&](ModuleParameter &each) {
    if (each.kind != parameter.kind && !each.uses.empty() && holdSameNumbers(parameter, each))
      other = each.nodeName();
  });
  if (other.empty())
    return "";
  return "the graph holds these numbers as a table and as a weight (" + parameter.nodeName() + ", " + other +
         "), in nodes that name no module; export with names";
}

// A user's form without a scalar "scale" has no scale to be set.
static std::string whyNotScaled(const LoadedAdapter &adapter, const Update &update,
                                const ModuleParameter &parameter) {
  bool isSet = adapter.request->scale != 1 || llvm::is_contained(adapter.request->bound, "scale");
  if (!adapter.contents.own || !isSet || traitsOf(update, parameter).scales)
    return "";
  return "a scale is asked for, but its form '" + update.formText() + "' has no scalar 'scale'";
}

void Planner::placeAt(const Update &given, const Target &target, const std::vector<PartUpdate> *parts) {
  const ModuleParameter &parameter = target.parameter ? *target.parameter : missingBias(*target.biasless);
  Result<std::optional<Update>> flat = flattened(given, parameter);
  if (!flat)
    return leaveOver(given, flat.error().message);
  if (*flat)
    adapter->made.push_back(std::move(**flat));
  if (!given.later.empty()) {
    if (!*flat)
      adapter->made.push_back(given);
    if (Status status = complete(adapter->made.back(), parameter); !status)
      return leaveOver(given, status.error().message);
  }
  if (given.taken)
    return leaveOver(given, "it takes a part of the weight away, which is known of linears alone");
  const Update &update = *flat || !given.later.empty() ? adapter->made.back() : given;
  bool unchanged = target.parameter && changesNothing(update, parameter);
  std::string why = unchanged ? ""
                              : whyUncertain(traitsOf(update, parameter), update.parameter, parameter,
                                             target.proof.evidence);
  bool isMixture = update.mixture.has_value();
  const ModuleTable &table = *plan.planned(target.parameter, target.biasless).table;
  if (why.empty())
    why = isMixture ? whyMixtureUnfit({adapter, &update}, parameter, table) : whyUnfit(update, parameter);
  if (std::string reader = target.parameter && !unchanged ? table.unknownReader(parameter) : "";
      why.empty() && !reader.empty())
    why = "the graph reads the tensor also in " + reader +
          ", of which it is not known whether it is a part of the module; export with names";
  if (why.empty() && !unchanged)
    why = whyTieUnclear(update, parameter, table);
  if (why.empty())
    why = whyNotScaled(*adapter, update, parameter);
  if (why.empty())
    why = whyTaken(update, target);
  if (!why.empty())
    return leaveOver(update, why);
  if (!unchanged) {
    PlannedParameter &entry = plan.planned(target.parameter, target.biasless);
    if (entry.updates.empty() && target.parameter)
      entry.tied = tiedWeights(*entry.table, *target.parameter);
    entry.updates.push_back({adapter, &update, labelOf(update, parameter)});
  }
  reportAt(update, target, unchanged, parts);
}

void Planner::reportAt(const Update &update, const Target &target, bool unchanged,
                       const std::vector<PartUpdate> *parts) {
  const ModuleParameter &parameter = target.parameter ? *target.parameter : missingBias(*target.biasless);
  Placement row;
  row.adapter = adapter->request->name;
  row.module = update.module;
  row.parameter = update.parameter;
  row.graphModule = parameter.module;
  row.node = parameter.nodeName();
  row.model = parameter.model().getSymName().str();
  row.key = parameter.value ? const_cast<ParameterOp &>(parameter.value).getKey().str() : "";
  row.kind = parameter.kind;
  row.form = update.formText();
  row.rank = update.rank;
  bool scales = traitsOf(update, parameter).scales || update.mixture.has_value();
  row.scale = scales ? update.scale * adapter->request->scale : 1.0;
  row.transposed = parameter.transposed;
  row.note = unchanged ? "unchanged" : target.note;
  row.evidence = unchanged ? Evidence::Contents : target.proof.evidence;
  row.derivation = target.proof.derivation.text(update.module + "." + update.parameter);
  if (options.norms && parameter.value)
    row.weightNorm = weightNorm(parameter);
  auto measure = [&](const Update &own) {
    std::optional<double> norm =
        options.norms && parameter.value && !unchanged ? updateNorm(own, parameter) : std::nullopt;
    row.updateNorm = norm && scales ? std::optional(*norm * std::fabs(adapter->request->scale)) : norm;
  };
  measure(update);
  if (!parts) {
    report.placements.push_back(std::move(row));
    return;
  }
  for (const PartUpdate &each : *parts) {
    row.module = each.update->module;
    row.rank = each.update->rank;
    row.scale = scales ? each.update->scale * adapter->request->scale : 1.0;
    row.evidence = each.evidence;
    measure(*each.update);
    row.note = "outputs " + std::to_string(each.part.offset) + " to " +
               std::to_string(each.part.offset + each.part.size - 1);
    report.placements.push_back(row);
  }
}

// A whole tensor, or a part of a fused one, as far as the base proves it.
void Planner::placePart(const Update &update, FusedPart part, const std::string &note) {
  Proof proof = claims.prove(update, part);
  const Update *carried = &update;
  if (proof.derivation.kind != Derivation::Itself) {
    Result<Update> made =
        carryThrough(update, proof.derivation, update.module + "." + update.parameter, *part.parameter);
    if (!made)
      return leaveOver(update, made.error().message);
    adapter->made.push_back(std::move(*made));
    carried = &adapter->made.back();
  }
  if (carried->taken) {
    adapter->made.push_back(*carried);
    carried = &adapter->made.back();
    if (Status status = takeFromBase(adapter->made.back(), *part.parameter, part.offset, part.size); !status)
      return leaveOver(update, status.error().message);
  }
  if (part.isWhole())
    return placeAt(*carried, {part.parameter, nullptr, std::move(proof), note});
  if (update.mixture)
    return leaveOver(update, "a mixture cannot act on a part of a fused weight (" +
                                 part.parameter->nodeName() + "); export the modules apart");
  if (int64_t outputs = outputsOf(update, *part.parameter); outputs != part.size)
    return leaveOver(update, "it has " + std::to_string(outputs) + " outputs, the base's module " +
                                 std::to_string(part.size));
  fused[{part.parameter, StringRef(carried->form)}].parts.push_back(
      {carried, part, proof.evidence, proof.storedTransposed});
}

// Parts of a fused tensor that claim the same outputs contradict each other, and so do sizes of parts behind the first that
// differ where names alone say where they lie.
static std::string whyContradicting(ArrayRef<PartUpdate> parts) {
  for (const PartUpdate &a : parts)
    for (const PartUpdate &b : parts) {
      if (a.update->module == b.update->module)
        continue;
      bool overlaps =
          a.part.offset < b.part.offset + b.part.size && b.part.offset < a.part.offset + a.part.size;
      bool differs = a.evidence != Evidence::Contents && a.part.offset > 0 && b.part.offset > 0 &&
                     a.part.size != b.part.size;
      if (overlaps || differs)
        return "its outputs and those of '" + b.update->module + "' do not fit the fused weight together (" +
               a.part.parameter->nodeName() + "); --base CHECKPOINT tells where they lie";
    }
  return "";
}

void Planner::placeFused() {
  // Whole values come first, as in one module.
  std::vector<std::pair<std::pair<ModuleParameter *, StringRef>, Fused>> sorted;
  for (bool replaces : {true, false})
    for (auto &[key, entry] : fused)
      if (traitsOf(*entry.parts.front().update, *key.first).replaces == replaces)
        sorted.push_back({key, entry});
  std::map<ModuleParameter *, std::vector<PartUpdate>> all;
  for (auto &[key, entry] : sorted)
    llvm::append_range(all[key.first], entry.parts);
  for (auto &[key, entry] : sorted) {
    if (std::string why = whyContradicting(all[key.first]); !why.empty()) {
      leaveOver(*entry.parts.front().update, why);
      continue;
    }
    Result<Update> whole = fuseUpdates(entry.parts);
    if (!whole) {
      leaveOver(*entry.parts.front().update, whole.error().message);
      continue;
    }
    adapter->made.push_back(std::move(*whole));
    Target target{key.first, nullptr, {}, ""};
    target.proof.evidence = entry.parts.front().evidence;
    placeAt(adapter->made.back(), target, &entry.parts);
  }
  fused.clear();
}

// One module that the graph holds in several.
void Planner::placeSplit(const Update &update, const Claim &claim) {
  Result<std::vector<Update>> parts = splitUpdate(update, claim.split);
  if (!parts)
    return leaveOver(update, parts.error().message);
  for (size_t i = 0; i < parts->size(); ++i) {
    adapter->made.push_back(std::move((*parts)[i]));
    Proof proof;
    proof.evidence = claim.split[i]->evidence;
    placeAt(adapter->made.back(), {claim.split[i], nullptr, proof, "part " + std::to_string(i + 1)});
  }
}

//===----------------------------------------------------------------------===//
// One update in all graphs
//===----------------------------------------------------------------------===//

// An update that follows a tie reaches every reader of the table, or is refused.
std::string Planner::whyNotFollowed(const Update &update, const ModuleTable &table,
                                    const Claim &claim) const {
  std::vector<const ModuleParameter *> reached;
  for (const FusedPart &part : claim.parts) {
    reached.push_back(part.parameter);
    for (ModuleParameter *weight : tiedWeights(table, *part.parameter))
      reached.push_back(weight);
  }
  const ModuleParameter &first = *claim.parts.front().parameter;
  if (!first.value)
    return "";
  // PEFT lets others follow only where the adapter is on the model's input embeddings.
  std::string other;
  table.forEach([&](ModuleParameter &each) {
    bool isTable = each.kind == SiteKind::Embedding && !llvm::is_contained(reached, &each);
    if (isTable && holdSameNumbers(first, each))
      other = each.module.empty() ? each.nodeName() : each.module;
  });
  if (!other.empty())
    return "the graph holds the same table in '" + other +
           "', and nothing says whether that and the output head follow; export with the tie undone";
  for (const ParameterUse &reader : ModuleTable::readersOf(claim.parts.front().parameter->value)) {
    bool isReached =
        llvm::any_of(reached, [&](const ModuleParameter *parameter) { return parameter->isReadBy(reader); });
    if (!isReached)
      return "the graph reads the table also in " + nodeNameOf(reader.node) +
             ", which is tied to it and cannot follow; export with the tie undone";
  }
  return "";
}

bool Planner::placeClaim(const Update &update, size_t index) {
  const Claim &claim = claims.find(index, update);
  if (claim.none())
    return false;
  if (claim.biasless) {
    Proof proof = claims.proveMissing(update, *claim.biasless);
    if (!proof.why.empty())
      leaveOver(update, proof.why);
    else
      placeAt(update, {nullptr, claim.biasless, proof, "new bias"});
    return true;
  }
  if (!claim.split.empty()) {
    placeSplit(update, claim);
    return true;
  }
  placeOwn(update, *plan.tables[index], claim);
  return true;
}

// The module's own tensors, and where an update follows ties, those that hold the same numbers.
void Planner::placeOwn(const Update &update, const ModuleTable &table, const Claim &claim) {
  for (const FusedPart &part : claim.parts)
    placePart(update, part, claim.byContents ? "by contents" : "");
  if (!update.tied)
    return;
  if (claim.parts.empty())
    return;
  const FusedPart &first = claim.parts.front();
  if (std::string why = whyNotFollowed(update, table, claim); !why.empty())
    leaveOver(update, why);
  for (ModuleParameter *weight : tiedWeights(table, *first.parameter)) {
    bool isFound = llvm::any_of(claim.parts, [&](const FusedPart &part) { return part.parameter == weight; });
    if (isFound)
      continue;
    Result<Update> own = ofTiedHead(update, *first.parameter);
    if (!own) {
      leaveOver(update, own.error().message);
      continue;
    }
    adapter->made.push_back(std::move(*own));
    placePart(adapter->made.back(), {weight, 0, weight->shape[0]}, "tied");
  }
}

// Token rows follow ties, so it does not matter which of the modules that share a table the checkpoint names.
bool Planner::placeTable(const Update &update, const ModuleTable &table) {
  Claim claim;
  for (ModuleParameter *parameter : embeddingsCalled(table, update.module))
    claim.parts.push_back({parameter, 0, parameter->shape[0]});
  if (!claim.parts.empty())
    placeOwn(update, table, claim);
  return !claim.parts.empty();
}

void Planner::place(const Update &update) {
  if (isIgnored(update.module)) {
    if (!llvm::is_contained(report.ignored, update.module))
      report.ignored.push_back(update.module);
    return;
  }
  if (update.bottleneck)
    return placeModule(update);
  bool anywhere = false;
  for (size_t index = 0; index < plan.tables.size(); ++index) {
    const Claim &claim = claims.find(index, update);
    if (update.ofBias && (claim.biasless || (claim.none() && claim.problem.empty())) &&
        keepsNoBias(update, plan.tables[index]->getModel().getContext()))
      return;
    if (claim.none() && !claim.problem.empty() && !claim.isElsewhere)
      return leaveOver(update, claim.problem);
    bool here = placeClaim(update, index);
    if (!here && update.tied)
      here = placeTable(update, *plan.tables[index]);
    anywhere |= here;
  }
  if (!anywhere)
    leaveMissing(update);
}

void Planner::leaveMissing(const Update &update) {
  for (size_t index = 0; index < plan.tables.size(); ++index)
    if (const Claim &claim = claims.find(index, update); !claim.problem.empty())
      return leaveOver(update, claim.problem);
  Missing missing = whyMissing(plan, update, claims.base() != nullptr);
  leaveOver(update, missing.why);
  report.leftOver.back().isMissing = missing.isPlain;
  report.leftOver.back().hasNearest = missing.hasNearest;
}

Status Planner::placeAll(LoadedAdapter &loaded) {
  adapter = &loaded;
  owners.clear();
  firstPlacement = report.placements.size();
  if (Status status =
          claims.settle(loaded.contents, [&](const std::string &module) { return isIgnored(module); });
      !status)
    return status;
  for (const Update &update : loaded.contents.updates)
    place(update);
  placeFused();
  joinBiases();
  refuseIgnored();
  if (std::string why = claims.whyOtherBase(); !why.empty())
    report.leftOver.insert(report.leftOver.begin(), {loaded.request->name, "", "", why});
  if (const checkpoint::BaseModel *base = claims.base())
    report.bases.push_back({loaded.request->name, base->path(), base->digest()});
  if (std::string why = whyUnproved(); !why.empty())
    report.leftOver.push_back({loaded.request->name, "", "", why});
  report.verdicts.push_back(judge(loaded, plan, report));
  return Done{};
}

// What is said to be missing must not be there: a glob that takes out more than was meant leaves an adapter half applied.
// Parts of models are no such case, whose modules end as those of the graph do.
void Planner::refuseIgnored() {
  for (const Update &update : adapter->contents.updates) {
    if (!isIgnored(update.module) || update.bottleneck)
      continue;
    for (const auto &table : plan.tables)
      for (ModuleParameter *parameter : matchModule(*table, update.module, update.parameter).found) {
        bool isTaken = owners.count({parameter, 0}) > 0;
        if (!isTaken && parameter->module.size() >= update.module.size())
          return leaveOver(update, "--ignore-missing takes it out, but the graph has it (" +
                                       parameter->nodeName() + "); give a glob of what is missing alone");
      }
  }
}

// Of --require-proof.
std::string Planner::whyUnproved() const {
  if (!options.requireProof)
    return "";
  std::string list;
  size_t count = 0;
  for (size_t i = firstPlacement; i < report.placements.size(); ++i) {
    const Placement &row = report.placements[i];
    if (row.evidence == Evidence::Contents || row.note == "new bias" || row.kind == SiteKind::Bottleneck)
      continue;
    if (++count <= 3)
      list += (list.empty() ? "'" : ", '") + row.module + "." + row.parameter + "'";
  }
  if (!count)
    return "";
  return "--require-proof: " + std::to_string(count) + " parameters are not proved by contents (" + list +
         (count > 3 ? ", ..." : "") + "); " +
         (claims.base() ? claims.base()->path() + " has no tensors for them"
                        : "name the base checkpoint with --base");
}
