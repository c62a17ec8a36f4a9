// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Adapters in the weights; see Realise.h. Parameters have nothing to do with each other, so that threads take one each; what
// acts on one parameter acts in the adapter's order.
#include "lib/Runtime/Manifest.h"
#include "lib/Runtime/Realise.h"
#include <atomic>
#include <new>
#include <optional>

namespace adapter::runtime {

namespace {

// A parameter of at least so great a part of one thread's share is worked on by all threads at once: whoever took it last
// would be waited for.
constexpr int64_t partsOfShare = 8;

struct Change {
  int parameter;
  std::vector<const SiteUpdate *> updates;
  std::shared_ptr<void> weights; // null: pristine
  std::optional<Error> failure;
};

class Changes {
public:
  Changes(const Artifact &artifact, Resources &resources, const Source &source, const Properties &properties,
          const Materialized &weights, TouchedCopies &copies)
      : artifact(artifact), resources(resources), source(source), properties(properties), before(weights),
        copies(copies) {
    std::map<int, size_t> places;
    for (const SiteUpdate &update : source.updates) {
      if (isBeside(artifact.manifest.sites(update.site)))
        continue;
      int parameter = artifact.manifest.sites(update.site).parameter();
      auto [place, isNew] = places.emplace(parameter, changes.size());
      if (isNew) {
        auto known = weights.find(parameter);
        changes.push_back({parameter, {}, known == weights.end() ? nullptr : known->second, {}});
      }
      changes[place->second].updates.push_back(&update);
    }
  }

  Status apply(Materialized &weights);

private:
  int64_t bytesOf(const Change &change) const {
    return static_cast<int64_t>(artifact.parameters[change.parameter].bytes);
  }
  Status apply(Change &change);
  Status applyOne(const SiteUpdate &update, std::shared_ptr<void> &weights, bool &isOwn);
  void tryToApply(Change &change);

  const Artifact &artifact;
  Resources &resources;
  const Source &source;
  const Properties &properties;
  const Materialized before; // what biases that depend on the weight beside them read
  TouchedCopies &copies;
  std::vector<Change> changes;
  std::atomic<bool> isOutOfMemory{false};
};

// `isOwn` says whether nobody else reads the weights, and they are no copy that must be restored.
Status Changes::applyOne(const SiteUpdate &update, std::shared_ptr<void> &weights, bool &isOwn) {
  const artifact::Site &site = artifact.manifest.sites(update.site);
  const artifact::SiteForm &form = site.forms(update.form);
  if (form.touch() && isOwn)
    return copies.applyInPlace(update, properties.scale, weights.get());
  if (form.touch() && !weights) {
    Result<std::shared_ptr<void>> touched = copies.apply(update, properties.scale);
    if (!touched)
      return touched.error();
    weights = std::move(*touched);
    return Done{};
  }
  Result<Base> found = baseOf(artifact, resources, site, weights.get());
  if (!found)
    return found.error();
  const Base &base = *found;
  Result<std::vector<Output>> outputs =
      runForm(artifact, resources, form, form.materialize(), base, before, update, properties, {base.dtype});
  if (!outputs)
    return outputs.error();
  if ((*outputs)[0].dims != base.dims)
    return Error{"the updated parameter has another shape than the base's"};
  weights = std::move((*outputs)[0].data);
  isOwn = true;
  return Done{};
}

Status Changes::apply(Change &change) {
  bool isOwn = false;
  for (const SiteUpdate *update : change.updates)
    if (Status status = applyOne(*update, change.weights, isOwn); !status)
      return Error{"adapter '" + source.name + "' at '" + siteName(artifact.manifest.sites(update->site)) +
                   "': " + status.error().message};
  return Done{};
}

// Nothing may be thrown out of a thread of the pool.
void Changes::tryToApply(Change &change) {
  try {
    if (Status status = apply(change); !status)
      change.failure = status.error();
  } catch (...) {
    isOutOfMemory = true;
  }
}

Status Changes::apply(Materialized &weights) {
  int64_t total = 0;
  for (const Change &change : changes)
    total += bytesOf(change);
  std::vector<Change *> small;
  for (Change &change : changes)
    if (bytesOf(change) * resources.pool.threads() * partsOfShare >= total)
      tryToApply(change);
    else
      small.push_back(&change);
  using Context = std::pair<Changes *, std::vector<Change *> *>;
  Context context{this, &small};
  auto body = [](void *context, int64_t begin, int64_t end) {
    auto &[self, small] = *static_cast<Context *>(context);
    for (int64_t i = begin; i < end; ++i)
      self->tryToApply(*(*small)[i]);
  };
  resources.pool.parallelFor(body, &context, static_cast<int64_t>(small.size()), 1);
  if (isOutOfMemory)
    throw std::bad_alloc();
  for (Change &change : changes)
    if (change.failure)
      return *change.failure;
  for (Change &change : changes)
    weights[change.parameter] = std::move(change.weights);
  return Done{};
}

} // namespace

Status materialize(const Artifact &artifact, Resources &resources, const Source &source,
                   const Properties &properties, Materialized &weights, TouchedCopies &copies) {
  return Changes(artifact, resources, source, properties, weights, copies).apply(weights);
}

} // namespace adapter::runtime
