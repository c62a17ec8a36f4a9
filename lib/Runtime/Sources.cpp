// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Adapters in terms of an artifact's sites; see Sources.h.
#include "lib/Runtime/Sources.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Skills.h"
#include "lib/Runtime/BaseContents.h"
#include "lib/Runtime/Manifest.h"
#include "lib/Runtime/SiteMatch.h"
#include "lib/Runtime/SiteShapes.h"
#include <algorithm>
#include <cstring>
#include <set>

namespace adapter::runtime {

using checkpoint::Safetensors;
using checkpoint::Update;

namespace {

enum class Origin { Artifact, Checkpoint };

Tensor copyTensor(const Tensor &tensor) {
  Tensor copy = checkpoint::allocateTensor(tensor.dtype, tensor.shape);
  copy.key = tensor.key;
  if (tensor.bytes)
    std::memcpy(checkpoint::mutableData(copy), tensor.data, tensor.bytes);
  return copy;
}

// The tensors by the roles of the site's form, converted and checked.
// The numbers of what a form makes of a bias: those of the weight of the same module.
Status bindBias(const Artifact &artifact, const artifact::SiteForm &form, int bias, const Update &from,
                std::map<std::string, Tensor> &tensors, SiteUpdate &update) {
  const artifact::Site &own = artifact.manifest.sites(bias);
  Update beside = from;
  beside.ofBias = true;
  for (int index = 0; index < artifact.manifest.sites_size(); ++index) {
    const artifact::Site &site = artifact.manifest.sites(index);
    if (site.module() != own.module() || site.graph() != own.graph() || site.kind() == artifact::VECTOR ||
        site.rows() != own.rows() || site.time() != own.time())
      continue;
    update.weightSite = index;
    Result<FormNumbers> numbers =
        bindDefinition(artifact.manifest.forms(form.definition() - 1), site, beside, tensors);
    if (!numbers)
      return numbers.error();
    update.numbers = std::move(*numbers);
    return checkpoint::Done{};
  }
  return Error{"the artifact has no room at the weight beside the bias"};
}

Result<SiteUpdate> makeUpdate(const Artifact &artifact, int siteIndex, int form, const Update &from,
                              artifact::Time time, const std::string &where, Origin origin) {
  std::map<std::string, Tensor> tensors = from.tensors;
  double scale = from.scale;
  const artifact::Site &site = artifact.manifest.sites(siteIndex);
  std::string message =
      where + ": module '" + site.module() + "', parameter '" + site.parameter_name() + "': ";
  if (form < 0) {
    std::string forms;
    for (const artifact::SiteForm &each : site.forms())
      forms += (forms.empty() ? "" : ", ") + formText(each);
    return Error{message + "the artifact has no room for the form '" + from.formText() +
                 "' there, only for: " + (forms.empty() ? "none" : forms)};
  }
  const artifact::SiteForm *known = &site.forms(form);
  bool inWeights = (time == artifact::SWITCH || time == artifact::LOAD) && !isBeside(site);
  if (inWeights ? known->materialize() < 0 || site.parameter() < 0 : known->prepare() < 0 || site.bank() < 0)
    return Error{message + "the artifact cannot apply the form '" + formText(*known) +
                 "' there at the time '" + timeName(time) + "'"};
  SiteUpdate update{siteIndex, form, scale, 0, {}, std::nullopt, -1, nullptr};
  for (auto &[role, tensor] : tensors) {
    Result<Tensor> converted =
        checkpoint::isFloat(tensor.dtype) ? checkpoint::toF32(tensor) : checkpoint::toI64(tensor);
    if (!converted)
      return Error{message + converted.error().message};
    // A checkpoint's file may be overwritten while its adapter lives; the artifact's own files may not.
    tensor =
        origin == Origin::Checkpoint && converted->data == tensor.data ? copyTensor(*converted) : *converted;
  }
  if (known->definition() && known->of_bias()) {
    // What the tensors fit is the weight beside the bias.
    if (Status status = bindBias(artifact, *known, siteIndex, from, tensors, update); !status)
      return Error{message + status.error().message};
  } else if (known->definition()) {
    Result<FormNumbers> numbers =
        bindDefinition(artifact.manifest.forms(known->definition() - 1), site, from, tensors);
    if (!numbers)
      return Error{message + numbers.error().message};
    update.numbers = std::move(*numbers);
  }
  for (const std::string &role : known->roles()) {
    auto it = tensors.find(role);
    if (it == tensors.end())
      return Error{message + "the tensor '" + role + "' is missing"};
    if (role == "A")
      update.rank = it->second.shape.empty() ? 0 : it->second.shape[0];
    update.tensors.push_back(it->second);
  }
  if (tensors.size() != update.tensors.size())
    return Error{message + "the form '" + formText(*known) + "' takes " +
                 std::to_string(update.tensors.size()) + " tensors, not " + std::to_string(tensors.size())};
  if (!known->definition())
    if (Status status = checkShapes(site, *known, update.tensors); !status)
      return Error{message + status.error().message};
  return update;
}

// Where a checkpoint may go: the slot's sites, or all sites of the artifact's only time.
// Gives an update the name that its form has at a site.
Status nameForm(const Artifact &artifact, int index, Update &update) {
  const artifact::Site &site = artifact.manifest.sites(index);
  const artifact::FormDefinition *definition =
      findDefinition(artifact.manifest, update.form, update.ofBias ? "linear" : placeOf(site).kind);
  if (!definition)
    return checkpoint::Done{};
  Result<std::string> label = labelOf(*definition, update);
  if (!label)
    return label.error();
  update.form = *label;
  return checkpoint::Done{};
}

struct Room {
  artifact::Time time;
  std::vector<int> sites;
  const artifact::Slot *slot = nullptr;
};

Result<Room> findRoom(const Artifact &artifact, const char *slotName) {
  const artifact::Manifest &manifest = artifact.manifest;
  std::string known;
  const artifact::Slot *slot = nullptr;
  for (const artifact::Slot &each : manifest.slots()) {
    known += (known.empty() ? "" : ", ") + each.name();
    if (slotName ? each.name() == slotName : manifest.slots_size() == 1)
      slot = &each;
  }
  if (slot) {
    Room room{slot->time(), {}, slot};
    for (int32_t site : slot->sites())
      room.sites.push_back(site);
    return room;
  }
  if (slotName)
    return Error{"the artifact has no slot '" + std::string(slotName) +
                 "'; it has: " + (known.empty() ? "none" : known)};
  if (manifest.slots_size() > 1)
    return Error{"the artifact has several slots, so that one must be named: " + known};
  std::set<artifact::Time> times;
  Room room{artifact::ROW, {}, nullptr};
  for (int i = 0; i < manifest.sites_size(); ++i)
    if (manifest.sites(i).time() >= artifact::LOAD) {
      times.insert(manifest.sites(i).time());
      room.sites.push_back(i);
    }
  if (times.size() != 1)
    return Error{times.empty() ? "the artifact has no room for adapters; compile it with --adapter-slot"
                               : "the artifact has adapters of several times and no slot; compile it with "
                                 "--adapter-slot"};
  room.time = *times.begin();
  return room;
}

std::string formsOf(const artifact::Slot &slot) {
  std::string forms;
  for (const std::string &form : slot.forms())
    forms += (forms.empty() ? "" : ", ") + form;
  return forms;
}

// Why the slot does not take the update, if so.
Status checkTaken(const Artifact &artifact, const artifact::Slot &slot, const Update &update,
                  const std::string &where) {
  std::string form = update.formText();
  if (const artifact::FormDefinition *definition = anyDefinition(artifact.manifest, update.form)) {
    Result<std::string> name = variantOf(*definition, update);
    if (!name)
      return name.error();
    form = *name;
  }
  if (slot.forms_size() && std::find(slot.forms().begin(), slot.forms().end(), form) == slot.forms().end())
    return Error{where + ": '" + update.module + "' is updated by '" + form + "', which the slot '" +
                 slot.name() + "' does not take; it takes: " + formsOf(slot)};
  if (slot.max_rank() && update.rank > slot.max_rank())
    return Error{where + ": '" + update.module + "' has rank " + std::to_string(update.rank) +
                 ", but the slot '" + slot.name() + "' takes ranks up to " + std::to_string(slot.max_rank())};
  return Done{};
}

} // namespace

bool Source::actsBeside(const Artifact &artifact) const {
  return std::any_of(updates.begin(), updates.end(), [&](const SiteUpdate &update) {
    return isBeside(artifact.manifest.sites(update.site));
  });
}

int64_t Source::highestRank() const {
  int64_t rank = 0;
  for (const SiteUpdate &update : updates)
    rank = std::max(rank, update.rank);
  return rank;
}

int64_t Source::tasks() const {
  int64_t tasks = 0;
  for (const SiteUpdate &update : updates)
    tasks = std::max(tasks, update.skills ? update.skills->tasks : 0);
  return tasks;
}

Result<Source> readBuiltIn(const Artifact &artifact, const artifact::Adapter &adapter) {
  std::string path = artifact.folder + "/" + adapter.file();
  size_t number = fileNumber(artifact.manifest, adapter.file());
  if (adapter.time() != artifact::SWITCH)
    if (Status status = artifact.check->finish(number); !status)
      return status.error();
  const Safetensors &file = artifact.tensorFiles[number];
  Source source{adapter.name(), "artifact", adapter.time(), {}, {}, false, number};
  source.bound.assign(adapter.bound().begin(), adapter.bound().end());
  source.byToken = adapter.by_token();
  source.hash = adapter.source_hash();
  for (const artifact::AdapterUpdate &update : adapter.updates()) {
    std::map<std::string, Tensor> tensors;
    for (const artifact::AdapterTensor &tensor : update.tensors()) {
      const Tensor *found = file.find(tensor.key());
      if (!found)
        return Error{path + ": lacks tensor '" + tensor.key() + "'"};
      tensors[tensor.role()] = *found;
    }
    auto skills = std::make_shared<Update>();
    if (update.tasks()) {
      skills->skills.swap(tensors);
      for (const char *role : {"A", "B", "logits"})
        if (!skills->skills.count(role))
          return Error{path + ": an update of several tasks lacks its tensor '" + role + "'"};
      if (Status status = checkpoint::setSkills(path, *skills); !status)
        return status.error();
      tensors = skills->tensors;
    }
    Update from;
    from.scale = update.scale();
    from.tensors = std::move(tensors);
    for (const artifact::FormScalar &scalar : update.scalars())
      from.scalars[scalar.name()] = scalar.by_default();
    for (const artifact::FormInteger &integer : update.integers())
      from.attributes[integer.name()] = integer.by_default();
    Result<SiteUpdate> made =
        makeUpdate(artifact, update.site(), update.form(), from, adapter.time(), path, Origin::Artifact);
    if (!made)
      return made.error();
    if (update.tasks())
      made->skills = std::move(skills);
    source.updates.push_back(std::move(*made));
  }
  return source;
}

Result<Source> readCheckpoint(const Artifact &artifact, const std::string &name, const std::string &path,
                              const char *slotName) {
  Result<Room> room = findRoom(artifact, slotName);
  if (!room)
    return room.error();
  Result<checkpoint::Adapter> adapter = checkpoint::readAdapter(path);
  if (!adapter)
    return adapter.error();
  if (Status status = placeOwnForm(artifact.manifest, *adapter); !status)
    return status.error();
  adapter->foldMasks();
  addBiasUpdates(artifact.manifest, *adapter);
  Source source{name, path, room->time, {}, {}, false, std::nullopt};
  source.baseDigest = adapter->baseDigest;
  source.hash = adapter->hash;
  if (room->slot) {
    source.slot = room->slot->name();
    source.bound.assign(room->slot->bound().begin(), room->slot->bound().end());
    source.byToken = room->slot->by_token();
  }
  std::vector<Result<std::vector<int>>> places = matchSites(artifact, room->sites, adapter->updates, path);
  for (size_t i = 0; i < adapter->updates.size(); ++i) {
    const Update &update = adapter->updates[i];
    std::shared_ptr<Update> skills;
    if (update.tasks) {
      skills = std::make_shared<Update>(update);
      for (auto &[role, tensor] : skills->skills)
        tensor = copyTensor(tensor); // its file may be overwritten while the adapter lives
    }
    const Result<std::vector<int>> &sites = places[i];
    if (sites) {
      Result<bool> unchanged = changesNothing(artifact, update, *sites);
      if (!unchanged)
        return unchanged.error();
      if (*unchanged)
        continue;
    }
    if (update.taken)
      return Error{
          path + ": '" + update.module +
          "' takes a part of the base's weight away before it adds its own, which only a compilation can "
          "compute; bind the adapter with --adapter, or save it as a plain LoRA "
          "(path_initial_model_for_weight_conversion)"};
    if (room->slot)
      if (Status status = checkTaken(artifact, *room->slot, update, path); !status)
        return status.error();
    const artifact::FormDefinition *definition = findDefinition(artifact.manifest, update.form, "linear");
    if (!sites && update.ofBias && definition && definition->keeps_no_bias())
      continue;
    if (!sites)
      return sites.error();
    for (int site : *sites) {
      if (source.byToken && !artifact.manifest.sites(site).by_token())
        return Error{path + ": '" + siteName(artifact.manifest.sites(site)) +
                     "' can differ by row, not by token, which the slot '" + room->slot->name() +
                     "' is for; use a slot of row"};
      Update own = update;
      forms::Place place = placeOf(artifact.manifest.sites(site));
      if (Status status = own.complete(place.out, place.columns()); !status)
        return Error{path + ": " + status.error().message};
      if (Status status = nameForm(artifact, site, own); !status)
        return Error{path + ": " + status.error().message};
      Result<SiteUpdate> made =
          makeUpdate(artifact, site,
                     own.bottleneck ? findForm(artifact.manifest.sites(site), *own.bottleneck)
                                    : findForm(artifact.manifest.sites(site), own.form),
                     own, room->time, path, Origin::Checkpoint);
      if (!made)
        return made.error();
      made->skills = skills;
      source.updates.push_back(std::move(*made));
    }
  }
  return source;
}

} // namespace adapter::runtime
