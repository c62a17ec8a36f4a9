// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Realising adapters; see Realise.h.
#include "lib/Runtime/Realise.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Skills.h"
#include "lib/Runtime/Manifest.h"
#include "lib/Runtime/Steps.h"
#include <algorithm>
#include <cstring>

namespace adapter::runtime {

// A base of which only the sizes are looked at, those of a narrow weight in f32.
static Base sizesOf(const Artifact &artifact, const artifact::Site &site) {
  const Tensor &tensor = artifact.parameters[site.parameter()];
  Base base;
  base.data = const_cast<std::byte *>(tensor.data);
  base.isSizesOnly = true;
  base.dims = {tensor.shape[0], artifact.manifest.parameters(site.parameter()).depth(), site.block()};
  return base;
}

// A narrow weight in f32, packed.
static Result<Base> decoded(const Artifact &artifact, Resources &resources, const artifact::Site &site,
                            const Base &narrow) {
  adapter_tensor_v1 input = {narrow.data, narrow.dims.data(), static_cast<int32_t>(narrow.dims.size()),
                             narrow.dtype};
  adapter_call_v1 call = {};
  call.inputs = &input;
  call.input_count = 1;
  call.parameters = artifact.pristine.data();
  Base base;
  Result<std::vector<Output>> made =
      invoke(resources, artifact.code.table->functions[site.decode() - 1], call, {base.dtype});
  if (!made)
    return made.error();
  base.owner = made->front().data;
  base.data = base.owner.get();
  base.dims = made->front().dims;
  return base;
}

Result<Base> baseOf(const Artifact &artifact, Resources &resources, const artifact::Site &site,
                    void *updated) {
  Base base;
  if (site.parameter() < 0)
    return base;
  const Tensor &tensor = artifact.parameters[site.parameter()];
  // Functions only read their inputs; the table's type has no const.
  base.data = updated ? updated : const_cast<std::byte *>(tensor.data);
  base.dims = tensor.shape;
  base.dtype = static_cast<int32_t>(tensor.dtype);
  return site.decode() ? decoded(artifact, resources, site, base) : Result<Base>(base);
}

namespace {

constexpr int32_t f32 = static_cast<int32_t>(checkpoint::DType::F32);
constexpr int32_t i64 = static_cast<int32_t>(checkpoint::DType::I64);
constexpr int32_t f64 = static_cast<int32_t>(checkpoint::DType::F64);
constexpr int biasPosition = 3, wholePosition = 4; // of an entry: tensors that stand for the whole parameter
constexpr int placesPosition = 5;                  // of a linear: which elements change
constexpr int stepsExtent = 4;                     // of a linear: how many steps there are

// The leading `rank` directions of a factor: rows of A or down [r, ...], columns of B or up [out, r, ...].
Tensor leading(const Tensor &factor, const std::string &role, int64_t rank) {
  bool down = role == "A" || role == "down" || role == "down_bias", up = role == "B" || role == "up";
  size_t axis = down ? 0 : 1;
  if (!(down || up) || rank == 0 || factor.shape.size() <= axis || factor.shape[axis] <= rank)
    return factor;
  std::vector<int64_t> shape = factor.shape;
  shape[axis] = rank;
  Tensor part = checkpoint::allocateTensor(factor.dtype, shape);
  part.key = factor.key;
  size_t outer = axis ? static_cast<size_t>(shape[0]) : 1;
  size_t from = factor.bytes / outer, to = part.bytes / outer;
  for (size_t i = 0; i < outer; ++i)
    std::memcpy(checkpoint::mutableData(part) + i * to, factor.data + i * from, to);
  return part;
}

} // namespace

void appendNumbers(const SiteUpdate &update, const double &scale, NumberInputs &numbers,
                   std::vector<adapter_tensor_v1> &inputs) {
  if (!update.numbers) {
    inputs.push_back({const_cast<double *>(&scale), nullptr, 0, f64});
    return;
  }
  numbers.scalars = update.numbers->scalars;
  numbers.symbols = update.numbers->symbols;
  if (update.numbers->scale >= 0)
    numbers.scalars[update.numbers->scale] = scale;
  numbers.counts[0] = static_cast<int64_t>(numbers.scalars.size());
  numbers.counts[1] = static_cast<int64_t>(numbers.symbols.size());
  inputs.push_back({numbers.scalars.data(), &numbers.counts[0], 1, f64});
  inputs.push_back({numbers.symbols.data(), &numbers.counts[1], 1, i64});
}

static void *updatedIn(const Materialized &weights, const artifact::Site &site) {
  auto updated = weights.find(site.parameter());
  return updated == weights.end() ? nullptr : updated->second.get();
}

Result<std::vector<Output>> runForm(const Artifact &artifact, Resources &resources,
                                    const artifact::SiteForm &form, int function, const Base &base,
                                    const Materialized &weights, const SiteUpdate &update,
                                    const Properties &properties, const std::vector<int32_t> &dtypes) {
  double scale = update.scale * properties.scale;
  std::vector<Tensor> tensors = update.tensors;
  if (update.skills && properties.task < 0)
    return Error{"it has " + std::to_string(update.skills->tasks) + " tasks, of which none is named"};
  if (update.skills && properties.task >= update.skills->tasks)
    return Error{"it has " + std::to_string(update.skills->tasks) + " tasks there"};
  if (update.skills) {
    std::map<std::string, Tensor> factors = checkpoint::factorsOfTask(*update.skills, properties.task);
    for (int i = 0; i < form.roles_size(); ++i)
      if (auto factor = factors.find(form.roles(i)); factor != factors.end())
        tensors[i] = std::move(factor->second);
  }
  for (size_t i = 0; i < tensors.size(); ++i)
    tensors[i] = leading(tensors[i], form.roles(static_cast<int>(i)), properties.rank);
  std::vector<adapter_tensor_v1> inputs;
  inputs.push_back({base.data, base.dims.data(), static_cast<int32_t>(base.dims.size()), base.dtype});
  Base beside;
  if (form.reads_weight()) {
    const artifact::Site &weight = artifact.manifest.sites(update.weightSite);
    Result<Base> found = baseOf(artifact, resources, weight, updatedIn(weights, weight));
    if (!found)
      return found.error();
    beside = *found;
    inputs.push_back(
        {beside.data, beside.dims.data(), static_cast<int32_t>(beside.dims.size()), beside.dtype});
  }
  for (const Tensor &tensor : tensors)
    inputs.push_back({const_cast<std::byte *>(tensor.data), tensor.shape.data(),
                      static_cast<int32_t>(tensor.shape.size()), static_cast<int32_t>(tensor.dtype)});
  NumberInputs numbers;
  appendNumbers(update, scale, numbers, inputs);
  if (int64_t at = update.numbers ? update.numbers->rank : -1; at >= 0 && properties.rank > 0)
    numbers.symbols[at] = std::min(numbers.symbols[at], properties.rank);
  adapter_call_v1 call = {};
  call.inputs = inputs.data();
  call.input_count = static_cast<int64_t>(inputs.size());
  call.parameters = artifact.pristine.data();
  return invoke(resources, artifact.code.table->functions[function], call, dtypes);
}

namespace {

// Type of an entry's tensor: the indices of what changes are integers.
int32_t entryDtype(const artifact::Site &site, int position) {
  bool indices = site.kind() == artifact::EMBEDDING ? position == 2
                 : site.kind() == artifact::LINEAR  ? position == placesPosition
                                                    : false;
  return indices ? i64 : f32;
}

// Packed tensors are [n / block, k, block]; what they cover is n.
int64_t packed(const std::vector<int64_t> &dims) { return dims.size() == 3 ? dims[0] * dims[2] : 0; }

void setExtents(const artifact::Site &site, int form, int position, const std::vector<int64_t> &dims,
                adapter_entry_v1 &entry) {
  if (site.kind() == artifact::LINEAR) {
    if (position == 0)
      entry.extent[0] = packed(dims);
    if (position == placesPosition && dims.size() == 2)
      entry.extent[3] = dims[1];
    if (position == wholePosition) {
      entry.extent[1] = packed(dims);
      entry.extent[2] = site.rows();
    }
  } else if (site.kind() == artifact::BOTTLENECK) {
    if (position == 0)
      entry.extent[0] = packed(dims);
    entry.extent[1] = form;
  } else if (site.kind() == artifact::EMBEDDING && !dims.empty()) {
    if (position == 0)
      entry.extent[0] = dims.back();
    if (position == 2)
      entry.extent[1] = dims[0];
    if (position == wholePosition)
      entry.extent[2] = dims[0];
  }
}

// What an entry takes of an update: outputs of a function, and which of its tensors they are.
struct EntryPart {
  std::vector<Output> outputs;
  std::vector<int> positions;
  bool hasSteps = false;
};

// Factors and steps take fewer multiply-adds than a weight of the adapter's own, but more each. With more elements than
// this share of the weight's they would take longer.
constexpr double factoredShare = 0.5;

bool isFactoredCheap(const Artifact &artifact, const artifact::Site &site,
                     const std::vector<Output> &outputs) {
  int64_t elements = 0;
  for (const Output &output : outputs)
    elements += output.elements();
  const Tensor &stored = artifact.parameters[site.parameter()];
  int64_t all = site.decode()
                    ? stored.shape[0] * artifact.manifest.parameters(site.parameter()).depth() * site.block()
                    : stored.elements();
  return elements <= factoredShare * all;
}

// Whether a form's update may also be had as a whole weight: that is what makes the updated parameter.
bool hasWhole(const artifact::Site &site, const artifact::SiteForm &form) {
  return site.kind() == artifact::LINEAR && form.definition() && form.materialize() >= 0 &&
         site.parameter() >= 0 && (form.entry_tensors_size() != 1 || form.entry_tensors(0) != wholePosition);
}

Result<EntryPart> preparePart(const Artifact &artifact, Resources &resources, const SiteUpdate &update,
                              const Base &base, const Materialized &weights, const Properties &properties,
                              bool isFirst) {
  const artifact::Site &site = artifact.manifest.sites(update.site);
  const artifact::SiteForm &form = site.forms(update.form);
  bool mayBeWhole = hasWhole(site, form);
  // What steps say is of the base's product alone.
  if (isFirst || !form.steps_size() || !mayBeWhole) {
    std::vector<int32_t> dtypes;
    for (int position : form.entry_tensors())
      dtypes.push_back(entryDtype(site, position));
    std::vector<int32_t> more = stepOutputs(form);
    dtypes.insert(dtypes.end(), more.begin(), more.end());
    Result<std::vector<Output>> outputs =
        runForm(artifact, resources, form, form.prepare(), base, weights, update, properties, dtypes);
    if (!outputs)
      return outputs.error();
    if (!mayBeWhole || isFactoredCheap(artifact, site, *outputs))
      return EntryPart{std::move(*outputs),
                       {form.entry_tensors().begin(), form.entry_tensors().end()},
                       form.steps_size() > 0};
  }
  Result<Base> wide = base.isSizesOnly ? baseOf(artifact, resources, site, nullptr) : Result<Base>(base);
  if (!wide)
    return wide.error();
  Result<std::vector<Output>> whole = runForm(artifact, resources, form, form.materialize(), *wide, weights,
                                              update, properties, {base.dtype});
  if (!whole)
    return whole.error();
  return EntryPart{std::move(*whole), {wholePosition}};
}

} // namespace

Result<Prepared> prepare(const Artifact &artifact, Resources &resources, const Source &source,
                         const Properties &properties, const Materialized &weights) {
  Prepared result;
  std::map<int, Base> bases;                 // by site, where an update made a whole parameter
  std::map<std::pair<int, int>, int> filled; // (bank, tensor) -> site
  for (const SiteUpdate &update : source.updates) {
    const artifact::Site &site = artifact.manifest.sites(update.site);
    if (!isBeside(site))
      continue;
    const artifact::SiteForm &form = site.forms(update.form);
    auto known = bases.find(update.site);
    Result<Base> found = known != bases.end() ? Result<Base>(known->second)
                         : site.decode() && !form.prepares_from_base()
                             ? Result<Base>(sizesOf(artifact, site))
                             : baseOf(artifact, resources, site, updatedIn(weights, site));
    if (!found)
      return found.error();
    const Base &base = *found;
    std::string where = "adapter '" + source.name + "' at '" + siteName(site) + "': ";
    auto [place, isFirst] = result.entries.emplace(site.bank(), adapter_entry_v1{});
    adapter_entry_v1 &entry = place->second;
    EntrySizes &sizes = result.sizes[site.bank()];
    Error both{where + "two updates of it cannot be combined in one batch; merge them, or use the adapter at "
                       "switch"};
    if (entry.extent[stepsExtent])
      return both;
    Result<EntryPart> part = preparePart(artifact, resources, update, base, weights, properties, isFirst);
    if (!part)
      return Error{where + part.error().message};
    if (part->hasSteps)
      addSteps(form, part->outputs, entry, sizes, result.owners);
    for (size_t i = 0; i < part->positions.size(); ++i) {
      Output &output = part->outputs[i];
      int position = part->positions[i];
      if (!output.elements())
        continue;
      bool whole =
          site.kind() != artifact::BOTTLENECK && (position == biasPosition || position == wholePosition);
      auto [place, isNew] = filled.emplace(std::pair(site.bank(), position), update.site);
      // A whole parameter was the base of the one that follows, which thus holds both.
      if (!isNew && (place->second != update.site || !whole || known == bases.end()))
        return both;
      entry.tensor[position] = output.data.get();
      sizes.elements[position] = output.elements();
      sizes.integers[position] = output.dtype == i64;
      setExtents(site, update.form, position, output.dims, entry);
      if (whole)
        bases[update.site] = Base{output.data.get(), output.dims, output.dtype};
      result.owners.push_back(std::move(output.data));
    }
  }
  return result;
}

} // namespace adapter::runtime
