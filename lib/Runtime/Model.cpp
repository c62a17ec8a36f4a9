// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The state of a model and its changes; see Model.h. Calls stand in Call.cpp.
#include "lib/Runtime/Model.h"
#include "lib/Runtime/Manifest.h"

namespace adapter::runtime {

Result<std::unique_ptr<Model>> Model::open(const std::string &folder, int threads, int64_t memoryLimit) {
  Result<std::shared_ptr<const Artifact>> artifact = openArtifact(folder);
  if (!artifact)
    return artifact.error();
  std::unique_ptr<Model> model(new Model(*artifact, threads, memoryLimit));
  auto first = std::make_shared<Snapshot>();
  first->parameters = (*artifact)->pristine;
  first->entries.resize((*artifact)->banks);
  first->sizes.resize((*artifact)->banks);
  for (const artifact::Scalar &scalar : (*artifact)->manifest.scalars())
    first->scalars.push_back(scalar.default_value());
  for (const artifact::Adapter &adapter : (*artifact)->manifest.adapters()) {
    if (adapter.time() < artifact::SWITCH)
      continue; // in the weights already
    Result<Source> source = readBuiltIn(**artifact, adapter);
    if (!source)
      return source.error();
    if (Status status = model->add(*first, std::make_shared<Source>(std::move(*source))); !status)
      return status.error();
  }
  model->publish(std::move(first));
  return model;
}

std::shared_ptr<const Snapshot> Model::current() const {
  std::lock_guard<std::mutex> lock(publishing);
  return snapshot;
}

void Model::publish(std::shared_ptr<Snapshot> next) {
  next->banks.clear();
  next->device = std::make_shared<DeviceTensors>();
  for (const std::vector<adapter_entry_v1> &bank : next->entries)
    next->banks.push_back({bank.data(), static_cast<int64_t>(bank.size())});
  std::shared_ptr<const Snapshot> previous = std::move(next);
  {
    std::lock_guard<std::mutex> lock(publishing);
    snapshot.swap(previous);
  }
  // The previous generation, now perhaps unused, is freed outside of the lock.
}

// Adds an adapter that is not there yet, or prepares it anew with another factor.
Status Model::add(Snapshot &next, std::shared_ptr<const Source> source) {
  LiveAdapter &live = next.adapters[source->name];
  live.source = source;
  if (source->time == artifact::SWITCH)
    return Done{};
  Result<Prepared> prepared = prepare(*artifact, resources, *source, live.factor);
  if (!prepared)
    return prepared.error();
  if (live.slot < 0) {
    std::vector<bool> used(next.adapters.size() + 1);
    for (const auto &[name, other] : next.adapters)
      if (other.slot >= 0 && static_cast<size_t>(other.slot) < used.size())
        used[other.slot] = true;
    for (live.slot = 0; used[live.slot];)
      ++live.slot;
  }
  for (int bank = 0; bank < artifact->banks; ++bank) {
    std::vector<adapter_entry_v1> &entries = next.entries[bank];
    if (entries.size() <= static_cast<size_t>(live.slot)) {
      entries.resize(live.slot + 1);
      next.sizes[bank].resize(live.slot + 1);
    }
    auto it = prepared->entries.find(bank);
    entries[live.slot] = it == prepared->entries.end() ? adapter_entry_v1{} : it->second;
    next.sizes[bank][live.slot] = it == prepared->entries.end() ? EntrySizes{} : prepared->sizes[bank];
  }
  live.prepared = std::make_shared<Prepared>(std::move(*prepared));
  return Done{};
}

Error Model::unknownAdapter(const Snapshot &state, const std::string &name) const {
  std::string known;
  for (const auto &[each, live] : state.adapters)
    known += (known.empty() ? "" : ", ") + each + " (" + timeName(live.source->time) + ")";
  return Error{"there is no adapter '" + name + "'; there are: " + (known.empty() ? "none" : known)};
}

Status Model::switchTo(const std::string &name) {
  std::lock_guard<std::mutex> lock(writing);
  std::shared_ptr<Snapshot> next = copy();
  Materialised weights;
  if (!name.empty()) {
    auto it = next->adapters.find(name);
    if (it == next->adapters.end())
      return unknownAdapter(*next, name);
    const LiveAdapter &live = it->second;
    if (live.source->time != artifact::SWITCH)
      return Error{"adapter '" + name + "' is bound at " + timeName(live.source->time) +
                   ", not at switch; name it in the call"};
    Result<Materialised> made = materialise(*artifact, resources, *live.source, live.factor);
    if (!made)
      return made.error();
    weights = std::move(*made);
  }
  next->switched = name;
  next->parameters = artifact->pristine;
  for (const auto &[row, data] : weights)
    next->parameters[row] = data.get();
  next->weights = std::move(weights);
  publish(std::move(next));
  return Done{};
}

Status Model::loadAdapter(const std::string &name, const std::string &path, const char *slot) {
  if (name.empty() || name == "-")
    return Error{"an adapter cannot be called '" + name + "'"};
  std::lock_guard<std::mutex> lock(writing);
  std::shared_ptr<Snapshot> next = copy();
  if (next->switched == name)
    return Error{"adapter '" + name + "' is switched in; switch to another one before it is loaded anew"};
  Result<Source> source = readCheckpoint(*artifact, name, path, slot);
  if (!source)
    return source.error();
  // A known name becomes a new generation; its place in the banks is found anew.
  if (auto it = next->adapters.find(name); it != next->adapters.end()) {
    for (std::vector<adapter_entry_v1> &bank : next->entries)
      if (it->second.slot >= 0)
        bank[it->second.slot] = {};
    next->adapters.erase(it);
  }
  if (Status status = add(*next, std::make_shared<Source>(std::move(*source))); !status)
    return status;
  publish(std::move(next));
  return Done{};
}

Status Model::unloadAdapter(const std::string &name) {
  std::lock_guard<std::mutex> lock(writing);
  std::shared_ptr<Snapshot> next = copy();
  auto it = next->adapters.find(name);
  if (it == next->adapters.end())
    return unknownAdapter(*next, name);
  if (next->switched == name)
    return Error{"adapter '" + name + "' is switched in; switch to another one or to none first"};
  if (it->second.slot >= 0)
    for (std::vector<adapter_entry_v1> &bank : next->entries)
      bank[it->second.slot] = {};
  next->adapters.erase(it);
  publish(std::move(next));
  return Done{};
}

Status Model::set(const std::string &property, double value) {
  std::lock_guard<std::mutex> lock(writing);
  std::shared_ptr<Snapshot> next = copy();
  const auto &scalars = artifact->manifest.scalars();
  for (int i = 0; i < scalars.size(); ++i)
    if (scalars[i].name() == property) {
      next->scalars[i] = value;
      publish(std::move(next));
      return Done{};
    }
  const std::string end = ".scale";
  if (property.size() <= end.size() || property.compare(property.size() - end.size(), end.size(), end))
    return Error{"'" + property + "' cannot be set; expected <adapter>.scale"};
  std::string name = property.substr(0, property.size() - end.size());
  auto it = next->adapters.find(name);
  if (it == next->adapters.end())
    return unknownAdapter(*next, name);
  it->second.factor = value;
  if (Status status = add(*next, it->second.source); !status)
    return status;
  if (next->switched == name) {
    Result<Materialised> weights = materialise(*artifact, resources, *it->second.source, value);
    if (!weights)
      return weights.error();
    next->weights = std::move(*weights);
    for (const auto &[row, data] : next->weights)
      next->parameters[row] = data.get();
  }
  publish(std::move(next));
  return Done{};
}

checkpoint::Json Model::adapters() const {
  checkpoint::Json result = checkpoint::Json::array();
  for (const auto &[name, live] : current()->adapters)
    result.push_back({{"name", name},
                      {"time", timeName(live.source->time)},
                      {"origin", live.source->origin},
                      {"scale", live.factor}});
  return result;
}

checkpoint::Json Model::info() const {
  std::shared_ptr<const Snapshot> state = current();
  checkpoint::Json result = manifestToJson(artifact->manifest);
  result["state"] = {
      {"adapters", adapters()},
      {"switched", state->switched.empty() ? checkpoint::Json() : checkpoint::Json(state->switched)},
      {"threads", resources.pool.threads()},
      {"memory", resources.cache->total()}};
  return result;
}

} // namespace adapter::runtime
