// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Adapters in a snapshot: their entries in the banks, one for each setting of their properties, and the weights
// that load- and switch-bound ones are put into. A setting that a call brings is prepared once and kept for
// the calls that follow, since forms like DoRA depend on it as a whole; the ones not used for longest go.
#include "lib/Runtime/Manifest.h"
#include "lib/Runtime/Model.h"
#include <algorithm>
#include <cmath>

namespace adapter::runtime {

// Settings of one adapter that are kept beside its own, at least; tasks are kept all.
static constexpr size_t keptSettings = 8;

const Variant *LiveAdapter::find(const Properties &wanted) const {
  for (const Variant &each : variants)
    if (each.properties == wanted)
      return &each;
  return nullptr;
}

//===----------------------------------------------------------------------===//
// Banks
//===----------------------------------------------------------------------===//

static int freeEntry(const Snapshot &state) {
  std::vector<bool> used;
  for (const auto &[name, live] : state.adapters)
    for (const Variant &variant : live.variants)
      if (variant.entry >= 0) {
        used.resize(std::max<size_t>(used.size(), variant.entry + 1));
        used[variant.entry] = true;
      }
  return static_cast<int>(std::find(used.begin(), used.end(), false) - used.begin());
}

static void clearEntry(Snapshot &state, int entry) {
  for (std::vector<adapter_entry_v1> &bank : state.entries)
    if (entry >= 0 && static_cast<size_t>(entry) < bank.size())
      bank[entry] = {};
}

// Fills the entries of a variant, under a number of their own or anew in the one that it has.
Status Model::prepareVariant(Snapshot &next, const Source &source, Variant &variant) {
  if (source.tasks() && variant.properties.task < 0)
    return Done{}; // calls name the task
  Result<Prepared> prepared = prepare(*artifact, resources, source, variant.properties, next.loadedWeights);
  if (!prepared)
    return prepared.error();
  if (variant.entry < 0)
    variant.entry = freeEntry(next);
  for (int bank = 0; bank < artifact->banks; ++bank) {
    std::vector<adapter_entry_v1> &entries = next.entries[bank];
    if (entries.size() <= static_cast<size_t>(variant.entry)) {
      entries.resize(variant.entry + 1);
      next.sizes[bank].resize(variant.entry + 1);
    }
    auto it = prepared->entries.find(bank);
    entries[variant.entry] = it == prepared->entries.end() ? adapter_entry_v1{} : it->second;
    next.sizes[bank][variant.entry] = it == prepared->entries.end() ? EntrySizes{} : prepared->sizes[bank];
  }
  variant.prepared = std::make_shared<Prepared>(std::move(*prepared));
  return Done{};
}

// Adds an adapter that is not there yet, or prepares it anew with other properties.
Status Model::add(Snapshot &next, std::shared_ptr<const Source> source) {
  LiveAdapter &live = next.adapters[source->name];
  live.source = source;
  if (source->time == artifact::LOAD)
    next.loaded.push_back(source->name);
  if (source->inWeights())
    return Done{}; // until it acts
  if (live.variants.empty())
    live.variants.emplace_back();
  live.variants.front().properties = live.properties;
  return prepareVariant(next, *source, live.variants.front());
}

void Model::remove(Snapshot &next, const std::string &name) const {
  for (const Variant &variant : next.adapters[name].variants)
    clearEntry(next, variant.entry);
  next.adapters.erase(name);
  next.loaded.erase(std::remove(next.loaded.begin(), next.loaded.end(), name), next.loaded.end());
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

// Puts the load-bound adapters into the weights, one after the other; the others act on top of them.
Status Model::reload(Snapshot &next) {
  next.loadedWeights.clear();
  for (const std::string &name : next.loaded) {
    const LiveAdapter &live = next.adapters[name];
    if (Status status =
            materialize(*artifact, resources, *live.source, live.properties, next.loadedWeights, *copies);
        !status)
      return status;
  }
  for (auto &[name, live] : next.adapters)
    for (Variant &variant : live.variants)
      if (Status status = prepareVariant(next, *live.source, variant); !status)
        return status;
  return putIn(next);
}

// Puts the adapter that is switched in into the weights, and beside those that stay as they are.
Status Model::putIn(Snapshot &next) {
  next.weights = next.loadedWeights;
  for (auto &[name, live] : next.adapters)
    if (live.source->time == artifact::SWITCH && name != next.switched) {
      for (const Variant &variant : live.variants)
        clearEntry(next, variant.entry);
      live.variants.clear();
    }
  if (!next.switched.empty()) {
    LiveAdapter &live = next.adapters[next.switched];
    if (live.source->actsBeside(*artifact)) {
      live.variants.resize(1);
      live.variants.front().properties = live.properties;
      if (Status status = prepareVariant(next, *live.source, live.variants.front()); !status)
        return status;
    }
    if (Status status =
            materialize(*artifact, resources, *live.source, live.properties, next.weights, *copies);
        !status)
      return status;
  }
  next.parameters = artifact->pristine;
  for (const auto &[row, data] : next.weights)
    next.parameters[row] = data.get();
  return Done{};
}

//===----------------------------------------------------------------------===//
// Settings
//===----------------------------------------------------------------------===//

static Status checkTask(const Source &source, int64_t task) {
  if (task < source.tasks())
    return Done{};
  if (!source.tasks())
    return Error{"adapter '" + source.name + "' knows no tasks"};
  return Error{"adapter '" + source.name + "' has no task " + std::to_string(task) + "; it has 0 to " +
               std::to_string(source.tasks() - 1)};
}

// The properties of an adapter after "<name>.<property>" = value; starts from what `properties` holds if
// `name` is that adapter already.
Status Model::changeProperties(const Snapshot &state, const std::string &text, double value,
                               std::string &name, Properties &properties) const {
  size_t dot = text.rfind('.');
  std::string property = dot == std::string::npos ? "" : text.substr(dot + 1);
  if (property != "scale" && property != "rank" && property != "task")
    return unknownProperty(state, text);
  name = text.substr(0, dot);
  auto it = state.adapters.find(name);
  if (it == state.adapters.end())
    return unknownAdapter(state, name, property);
  if (it->second.source->time == artifact::BUILD)
    return Error{"'" + text + "': adapter '" + name +
                 "' is bound at build, where its properties were settled"};
  properties = it->second.properties;
  if (property == "scale") {
    if (!std::isfinite(value))
      return Error{"'" + text + "' takes a finite number"};
    properties.scale = value;
    return Done{};
  }
  bool isWhole = value >= 0 && value < 1e9 && value == std::floor(value);
  if (property == "task") {
    if (!isWhole)
      return Error{"'" + text + "' takes a whole number"};
    properties.task = static_cast<int64_t>(value);
    return checkTask(*it->second.source, properties.task);
  }
  int64_t highest = it->second.source->highestRank();
  if (!highest)
    return Error{"adapter '" + name + "' has no low-rank updates, and so no rank"};
  if (!isWhole || value < 1 || value > static_cast<double>(highest))
    return Error{"'" + text + "' takes a whole number from 1 to " + std::to_string(highest)};
  properties.rank = value == static_cast<double>(highest) ? 0 : static_cast<int64_t>(value);
  return Done{};
}

Result<Model::Settings> Model::readSettings(const Snapshot &state, const CallRequest &request) const {
  std::map<std::string, Properties> given;
  const std::vector<Share> shares = request.shares();
  for (const auto &[text, value] : request.settings) {
    std::string name;
    Properties changed;
    if (Status status = changeProperties(state, text, value, name, changed); !status)
      return status.error();
    const Source &source = *state.adapters.at(name).source;
    std::string property = text.substr(name.size() + 1);
    // Which task it is belongs to the call by nature.
    if (property != "task" &&
        std::find(source.bound.begin(), source.bound.end(), property) == source.bound.end())
      return notBound(source, property);
    if (std::none_of(shares.begin(), shares.end(), [&](const Share &share) { return share.name == name; }))
      return Error{"'" + text + "' is set, but the call names no adapter '" + name + "'"};
    Properties &place = given.emplace(name, state.adapters.at(name).properties).first->second;
    if (property == "scale")
      place.scale = changed.scale;
    else if (property == "rank")
      place.rank = changed.rank;
    else
      place.task = changed.task;
  }
  Settings settings;
  for (const Share &share : shares) {
    auto known = state.adapters.find(share.name);
    auto set = given.find(share.name);
    if (known == state.adapters.end() || (share.task < 0 && set == given.end()))
      continue; // an unknown one is complained of where rows are planned
    Properties properties = set == given.end() ? known->second.properties : set->second;
    if (share.task >= 0) {
      if (Status status = checkTask(*known->second.source, share.task); !status)
        return status.error();
      properties.task = share.task;
    }
    settings[{share.name, share.task}] = properties;
  }
  return settings;
}

// The state of the moment with the variants that the call's settings need. Where one is missing it is
// prepared and published, so that the next call finds it.
Result<std::shared_ptr<const Snapshot>> Model::withVariants(const CallRequest &request, Settings &settings) {
  auto isReady = [&](const Snapshot &state) {
    return std::all_of(settings.begin(), settings.end(), [&](const auto &each) {
      return state.adapters.at(each.first.first).find(each.second) != nullptr;
    });
  };
  auto read = [&](const Snapshot &state) -> Status {
    Result<Settings> found = readSettings(state, request);
    if (!found)
      return found.error();
    settings = std::move(*found);
    return Done{};
  };
  std::shared_ptr<const Snapshot> state = current();
  if (Status status = read(*state); !status)
    return status.error();
  if (isReady(*state))
    return state;
  std::lock_guard<std::mutex> lock(writing);
  std::shared_ptr<Snapshot> next = copy();
  if (Status status = read(*next); !status)
    return status.error();
  for (const auto &[key, properties] : settings) {
    const std::string &name = key.first;
    LiveAdapter &live = next->adapters[name];
    if (live.find(properties))
      continue;
    if (live.variants.size() > std::max<size_t>(keptSettings, live.source->tasks())) {
      auto isUnwanted = [&](const Variant &variant) {
        return std::none_of(settings.begin(), settings.end(), [&](const auto &each) {
          return each.first.first == name && each.second == variant.properties;
        });
      };
      auto oldest = std::find_if(live.variants.begin() + 1, live.variants.end(), isUnwanted);
      if (oldest != live.variants.end()) {
        clearEntry(*next, oldest->entry);
        live.variants.erase(oldest);
      }
    }
    Variant variant{properties, -1, nullptr};
    if (Status status = prepareVariant(*next, *live.source, variant); !status)
      return status.error();
    live.variants.push_back(std::move(variant));
  }
  state = next;
  publish(std::move(next));
  return state;
}

} // namespace adapter::runtime
