// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The base checkpoint of an adapter, and what it proves of claims; see Claims.h.
#include "lib/Attach/Claims.h"
#include "lib/Checkpoint/DType.h"
#include <algorithm>
#include <cmath>
#include <limits>

using namespace mlir;
using namespace adapter;
using checkpoint::BaseModel;
using checkpoint::Done;
using checkpoint::Error;
using checkpoint::MatchItem;
using checkpoint::MatchResult;
using checkpoint::Result;
using checkpoint::Status;
using checkpoint::Tensor;
using checkpoint::Update;

Status Claims::openBase(const checkpoint::Adapter &adapter) {
  current = nullptr;
  std::string path = options.base;
  bool wasFound = false;
  if (path.empty() && !options.noBase)
    if (std::optional<std::string> local =
            checkpoint::findLocalModel(adapter.baseModel, adapter.baseRevision)) {
      path = *local;
      wasFound = true;
    }
  if (path.empty())
    return Done{};
  std::unique_ptr<Base> &entry = bases[path];
  if (!entry) {
    Result<BaseModel> read = BaseModel::open(path);
    // What was found by itself and cannot be read is as good as not there.
    if (!read && wasFound)
      return Done{};
    if (!read)
      return Error{"--base " + read.error().message};
    entry = std::make_unique<Base>();
    entry->model = std::make_shared<BaseModel>(std::move(*read));
    entry->wasFound = wasFound;
    entry->contents.resize(tables.size());
  }
  current = entry.get();
  return Done{};
}

// Modules of the adapter and keys of the base are matched as modules and graphs are.
void Claims::matchBaseKeys() {
  std::vector<MatchItem> wanted;
  // Beside a bias its weight, which says whether both are scaled.
  std::vector<Item> all = items;
  for (const Item &item : items)
    if (Item weight{item.first, "weight"}; item.second == "bias" && !llvm::is_contained(all, weight))
      all.push_back(weight);
  for (const Item &item : all) {
    wanted.push_back({item.first, item.second, {}});
    for (const Tensor *tensor : current->model->tensors()) {
      StringRef key = tensor->key;
      if (key.consume_back("." + item.second) && checkpoint::pathsMatch(key.str(), item.first))
        wanted.back().candidates.push_back({key.str(), true});
    }
  }
  MatchResult match = checkpoint::matchModules(wanted, "");
  for (size_t i = 0; i < all.size(); ++i)
    if (!match.paths[i].empty())
      baseKeys[all[i]] = match.paths[i] + "." + all[i].second;
}

const Tensor *Claims::baseTensor(const std::string &module, const std::string &parameter) const {
  auto key = baseKeys.find({module, parameter});
  return key == baseKeys.end() || !base() ? nullptr : base()->find(key->second);
}

// Whether the weight of a module that the base does not list is a table that it lists: tied, and stored once.
bool Claims::isTiedInBase(const FusedPart &part) const {
  bool isMatrix = part.parameter->kind == SiteKind::Linear || part.parameter->kind == SiteKind::Embedding;
  if (!base() || !isMatrix || !part.isWhole())
    return false;
  return llvm::any_of(base()->tensors(), [&](const Tensor *tensor) {
    if (tensor->shape.size() != 2 || tensor->shape[0] != part.parameter->shape[0] ||
        tensor->shape[1] != part.parameter->shape[1])
      return false;
    Comparison comparison = compareWithBase(part, *tensor);
    return comparison.derivation && comparison.derivation->kind == Derivation::Itself &&
           !comparison.storedTransposed;
  });
}

// What the graph holds of the weight beside a bias, where that is scaled.
std::optional<Derivation> Claims::weightBeside(const FusedPart &bias, StringRef key) const {
  if (!key.consume_back(".bias") || !bias.isWhole())
    return std::nullopt;
  const Tensor *expected = base()->find((key + ".weight").str());
  for (const auto &table : tables) {
    if (!expected || table->getModel() != bias.parameter->model())
      continue;
    for (ModuleParameter *weight : table->find(bias.parameter->module, "weight"))
      if (Comparison comparison = compareWithBase({weight, 0, weight->shape[0]}, *expected);
          comparison.derivation && (comparison.derivation->kind == Derivation::RowsScaled ||
                                    comparison.derivation->kind == Derivation::Scaled)) {
        if (comparison.derivation->kind == Derivation::Scaled)
          comparison.derivation->scales.assign(weight->shape[0], comparison.derivation->factor);
        return comparison.derivation;
      }
  }
  return std::nullopt;
}

static bool isZero(const Tensor &tensor) {
  Result<Tensor> wide = checkpoint::toF32(tensor);
  const float *values = wide ? reinterpret_cast<const float *>(wide->data) : nullptr;
  return values && std::all_of(values, values + wide->elements(), [](float value) { return value == 0; });
}

Proof Claims::proveMissing(const Update &update, const ModuleParameter &weight) const {
  Proof proof;
  proof.evidence = weight.evidence;
  const Tensor *expected = baseTensor(update.module, update.parameter);
  if (expected && !isZero(*expected) && !options.allowOtherBase)
    proof.why = "the base has a bias there ('" + expected->key + "'), but the graph shows none beside " +
                weight.nodeName() + "; export without folding it, or with names";
  if (expected)
    proof.evidence = Evidence::Contents;
  FusedPart like{const_cast<ModuleParameter *>(&weight), 0, weight.shape[0]};
  auto key = baseKeys.find({update.module, "weight"});
  StringRef path = key == baseKeys.end() ? StringRef() : StringRef(key->second).rsplit('.').first;
  if (!path.empty())
    proof.evidence = Evidence::Contents;
  if (!path.empty() && weightBeside(like, (path + ".bias").str()))
    proof.why = "the graph holds the weight beside it scaled (" + weight.nodeName() +
                "), and no bias that would say whether it is scaled too; export without folding";
  return proof;
}

Proof Claims::prove(const Update &update, const FusedPart &part) {
  Proof proof;
  hasPlaces = true;
  proof.evidence = part.parameter->evidence;
  const Tensor *expected = baseTensor(update.module, update.parameter);
  if (!part.parameter->value)
    return proof;
  if (!expected) {
    if (!isTiedInBase(part))
      return proof;
    ++compared;
    part.parameter->storedTransposed = false;
    part.parameter->orientationKnown = true;
    proof.evidence = Evidence::Contents;
    return proof;
  }
  Comparison comparison = compareWithBase(part, *expected);
  if (!comparison.problem.empty()) {
    if (!options.allowOtherBase && comparison.isOtherShape)
      differing.push_back({update.module + "." + update.parameter, std::numeric_limits<double>::infinity()});
    return proof;
  }
  ++compared;
  // Of a bias of zeros nothing shows whether it is scaled as its weight is.
  if (!comparison.derivation || isZero(*expected))
    if (std::optional<Derivation> weight = weightBeside(part, expected->key))
      comparison.derivation = affineOf(part, *expected, *weight);
  if (!comparison.derivation) {
    if (!options.allowOtherBase)
      differing.push_back({update.module + "." + update.parameter, comparison.difference});
    return proof;
  }
  proof.evidence = Evidence::Contents;
  proof.derivation = *comparison.derivation;
  proof.storedTransposed = comparison.storedTransposed;
  if (part.parameter->kind == SiteKind::Linear && part.isWhole()) {
    part.parameter->storedTransposed = comparison.storedTransposed;
    part.parameter->orientationKnown = true;
  }
  return proof;
}

std::string Claims::whyOtherBase() const {
  // What the user names must be about the adapter; what was found by itself may lack what it touches.
  if (differing.empty() && base() && !baseWasFound() && !compared && hasPlaces)
    return "--base " + base()->path() +
           " was compared with nothing: it has no tensors of floats for the modules that the adapter touches";
  if (differing.empty())
    return "";
  std::vector<std::pair<std::string, double>> sorted = differing;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto &a, const auto &b) { return a.second > b.second; });
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  std::string list;
  for (size_t i = 0; i < sorted.size() && i < 3; ++i) {
    char text[64];
    if (std::isinf(sorted[i].second))
      std::snprintf(text, sizeof text, " in shape");
    else
      std::snprintf(text, sizeof text, " by %.2g", sorted[i].second);
    list += (i ? ", '" : "'") + sorted[i].first + "'" + text;
  }
  return "the graph is not what " + base()->path() + " holds: of " + std::to_string(compared) +
         " parameters that the adapter touches, " + std::to_string(sorted.size()) + " differ (" + list +
         (sorted.size() > 3 ? ", ..." : "") + " of the largest number there); export that model, or " +
         (baseWasFound() ? "leave the comparison out with --no-base, or " : "") +
         "say with --allow-other-base that the adapter is meant for this one";
}
