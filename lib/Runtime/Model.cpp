// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The state of a model and its changes; see Model.h. Calls stand in Call.cpp, what adapters are made into in
// Variants.cpp.
#include "lib/Runtime/Model.h"
#include "lib/Runtime/Manifest.h"
#include <set>

namespace adapter::runtime {

Result<std::unique_ptr<Model>> Model::open(const std::string &folder, int threads, int64_t memoryLimit,
                                           bool checks, const adapter_collectives_v1 *collectives) {
  Result<std::shared_ptr<const Artifact>> artifact = openArtifact(folder, checks);
  if (!artifact)
    return artifact.error();
  std::unique_ptr<Model> model(new Model(*artifact, threads, memoryLimit));
  model->collectives = collectives;
  auto first = std::make_shared<Snapshot>();
  first->parameters = (*artifact)->pristine;
  first->entries.resize((*artifact)->banks);
  first->sizes.resize((*artifact)->banks);
  for (const artifact::Scalar &scalar : (*artifact)->manifest.scalars())
    first->scalars.push_back(scalar.default_value());
  for (const artifact::Adapter &adapter : (*artifact)->manifest.adapters()) {
    if (adapter.updates().empty() && adapter.time() == artifact::BUILD)
      continue; // in the weights already
    Result<Source> source = readBuiltIn(**artifact, adapter);
    if (!source)
      return source.error();
    if (Status status = model->add(*first, std::make_shared<Source>(std::move(*source))); !status)
      return status.error();
  }
  if (Status status = first->loaded.empty() ? Status(Done{}) : model->reload(*first); !status)
    return status.error();
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

Status Model::switchTo(const std::string &name) {
  if (Status status = fileCheck().status(); !status)
    return status;
  std::lock_guard<std::mutex> lock(writing);
  std::shared_ptr<Snapshot> next = copy();
  if (!name.empty()) {
    auto it = next->adapters.find(name);
    if (it == next->adapters.end())
      return unknownAdapter(*next, name);
    if (it->second.source->time != artifact::SWITCH)
      return Error{"adapter '" + name + "' is bound at " + timeName(it->second.source->time) +
                   ", not at switch" +
                   (it->second.source->time == artifact::LOAD    ? ": it acts until it is unloaded"
                    : it->second.source->time == artifact::BUILD ? ": it acts in every call"
                                                                 : "; name it in the call")};
    if (std::optional<size_t> file = it->second.source->file)
      if (Status status = fileCheck().finish(*file); !status)
        return status;
  }
  next->switched = name;
  if (Status status = putIn(*next); !status)
    return status;
  publish(std::move(next));
  return Done{};
}

// Adapters that adapter-opt made record the base that they were made of.
Status Model::checkBase(const Source &source) const {
  std::set<std::string> known;
  for (const artifact::Attachment &each : artifact->manifest.attachments())
    known.insert(each.base_digest());
  for (const artifact::Slot &each : artifact->manifest.slots())
    known.insert(each.base_digest());
  known.erase("");
  if (allowsOtherBase || source.baseDigest.empty() || known.empty() || known.count(source.baseDigest))
    return Done{};
  return Error{source.origin + ": made of another base (" + source.baseDigest +
               ") than the one that the model was compiled with (" + *known.begin() +
               "); --allow-other-base loads it all the same"};
}

Status Model::loadAdapter(const std::string &name, const std::string &path, const char *slot) {
  if (name.empty() || name == "-")
    return Error{"an adapter cannot be called '" + name + "'"};
  if (Status status = fileCheck().status(); !status)
    return status;
  std::lock_guard<std::mutex> lock(writing);
  std::shared_ptr<Snapshot> next = copy();
  if (next->switched == name)
    return Error{"adapter '" + name + "' is switched in; switch to another one before it is loaded anew"};
  Result<Source> source = readCheckpoint(*artifact, name, path, slot);
  if (!source)
    return source.error();
  if (Status status = checkBase(*source); !status)
    return status;
  // A known name becomes a new generation.
  bool reloads = source->time == artifact::LOAD;
  if (auto it = next->adapters.find(name); it != next->adapters.end()) {
    if (it->second.source->time == artifact::BUILD)
      return Error{"adapter '" + name + "' is bound at build and cannot be replaced; choose another name"};
    reloads |= it->second.source->time == artifact::LOAD;
    remove(*next, name);
  }
  if (Status status = add(*next, std::make_shared<Source>(std::move(*source))); !status)
    return status;
  if (Status status = reloads ? reload(*next) : Status(Done{}); !status)
    return status;
  publish(std::move(next));
  return Done{};
}

Status Model::unloadAdapter(const std::string &name) {
  if (Status status = fileCheck().status(); !status)
    return status;
  std::lock_guard<std::mutex> lock(writing);
  std::shared_ptr<Snapshot> next = copy();
  auto it = next->adapters.find(name);
  if (it == next->adapters.end())
    return unknownAdapter(*next, name);
  if (next->switched == name)
    return Error{"adapter '" + name + "' is switched in; switch to another one or to none first"};
  if (it->second.source->time == artifact::BUILD)
    return Error{"adapter '" + name + "' is bound at build: it acts in every call"};
  bool reloads = it->second.source->time == artifact::LOAD;
  remove(*next, name);
  if (Status status = reloads ? reload(*next) : Status(Done{}); !status)
    return status;
  publish(std::move(next));
  return Done{};
}

Status Model::set(const std::string &property, double value) {
  if (Status status = fileCheck().status(); !status)
    return status;
  std::lock_guard<std::mutex> lock(writing);
  std::shared_ptr<Snapshot> next = copy();
  const auto &scalars = artifact->manifest.scalars();
  for (int i = 0; i < scalars.size(); ++i)
    if (scalars[i].name() == property) {
      next->scalars[i] = value;
      publish(std::move(next));
      return Done{};
    }
  std::string name;
  Properties properties;
  if (Status status = changeProperties(*next, property, value, name, properties); !status)
    return status;
  LiveAdapter &live = next->adapters[name];
  live.properties = properties;
  Status changed = live.source->time == artifact::LOAD ? reload(*next)
                   : live.source->inWeights()          ? (next->switched == name ? putIn(*next) : Done{})
                                                       : add(*next, live.source);
  if (!changed)
    return changed;
  publish(std::move(next));
  return Done{};
}

checkpoint::Json Model::adapters() const {
  checkpoint::Json result = checkpoint::Json::array();
  for (const auto &[name, live] : current()->adapters)
    result.push_back(
        {{"name", name},
         {"time", timeName(live.source->time)},
         {"origin", live.source->origin},
         {"scale", live.properties.scale},
         {"rank", live.properties.rank ? std::min(live.properties.rank, live.source->highestRank())
                                       : live.source->highestRank()}});
  return result;
}

checkpoint::Json Model::info() const {
  std::shared_ptr<const Snapshot> state = current();
  checkpoint::Json result = manifestToJson(artifact->manifest);
  result["state"] = {
      {"adapters", adapters()},
      {"loaded", state->loaded},
      {"switched", state->switched.empty() ? checkpoint::Json() : checkpoint::Json(state->switched)},
      {"threads", resources.pool.threads()},
      {"memory", resources.cache->total()}};
  return result;
}

} // namespace adapter::runtime
