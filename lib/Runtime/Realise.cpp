// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Realising adapters; see Realise.h.
#include "lib/Runtime/Realise.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Runtime/Manifest.h"
#include <algorithm>

namespace adapter::runtime {

namespace {

constexpr int32_t f32 = static_cast<int32_t>(checkpoint::DType::F32);
constexpr int32_t i64 = static_cast<int32_t>(checkpoint::DType::I64);
constexpr int32_t f64 = static_cast<int32_t>(checkpoint::DType::F64);
constexpr int biasSlot = 3, wholeSlot = 4; // of an entry: tensors that stand for the whole parameter

// The base that a function sees: the pristine parameter, or what an earlier update made of it.
struct Base {
  void *data = nullptr;
  std::vector<int64_t> dims;
  int32_t dtype = f32;
};

Base pristine(const Artifact &artifact, const artifact::Site &site) {
  Base base;
  if (site.parameter() < 0)
    return base;
  const Tensor &tensor = artifact.parameters[site.parameter()];
  // Functions only read their inputs; the table's type has no const.
  base.data = const_cast<std::byte *>(tensor.data);
  base.dims = tensor.shape;
  base.dtype = static_cast<int32_t>(tensor.dtype);
  return base;
}

Result<std::vector<Output>> run(const Artifact &artifact, Resources &resources, int function,
                                const Base &base, const SiteUpdate &update, double factor,
                                const std::vector<int32_t> &dtypes) {
  double scale = update.scale * factor;
  std::vector<adapter_tensor_v1> inputs;
  inputs.push_back({base.data, base.dims.data(), static_cast<int32_t>(base.dims.size()), base.dtype});
  for (const Tensor &tensor : update.tensors)
    inputs.push_back({const_cast<std::byte *>(tensor.data), tensor.shape.data(),
                      static_cast<int32_t>(tensor.shape.size()), static_cast<int32_t>(tensor.dtype)});
  inputs.push_back({&scale, nullptr, 0, f64});
  adapter_call_v1 call = {};
  call.inputs = inputs.data();
  call.input_count = static_cast<int64_t>(inputs.size());
  call.parameters = artifact.pristine.data();
  return invoke(resources, artifact.code.table->functions[function], call, dtypes);
}

// Type of an entry's tensor: the indices of replaced rows are integers.
int32_t entryDtype(const artifact::Site &site, int slot) {
  return site.kind() == artifact::EMBEDDING && slot == 2 ? i64 : f32;
}

// Packed tensors are [n / block, k, block]; what they cover is n.
int64_t packed(const std::vector<int64_t> &dims) { return dims.size() == 3 ? dims[0] * dims[2] : 0; }

void setExtents(const artifact::Site &site, int slot, const std::vector<int64_t> &dims,
                adapter_entry_v1 &entry) {
  if (site.kind() == artifact::LINEAR) {
    if (slot == 0)
      entry.extent[0] = packed(dims);
    if (slot == wholeSlot) {
      entry.extent[1] = packed(dims);
      entry.extent[2] = site.rows();
    }
  } else if (site.kind() == artifact::EMBEDDING && !dims.empty()) {
    if (slot == 0)
      entry.extent[0] = dims.back();
    if (slot == 2)
      entry.extent[1] = dims[0];
    if (slot == wholeSlot)
      entry.extent[2] = dims[0];
  }
}

} // namespace

Result<Prepared> prepare(const Artifact &artifact, Resources &resources, const Source &source,
                         double factor) {
  Prepared result;
  std::map<int, Base> bases;                 // by site, where an update made a whole parameter
  std::map<std::pair<int, int>, int> filled; // (bank, tensor) -> site
  for (const SiteUpdate &update : source.updates) {
    const artifact::Site &site = artifact.manifest.sites(update.site);
    const artifact::SiteForm &form = *findForm(site, update.form);
    std::vector<int32_t> dtypes;
    for (int slot : form.entry_slots())
      dtypes.push_back(entryDtype(site, slot));
    auto known = bases.find(update.site);
    Base base = known != bases.end() ? known->second : pristine(artifact, site);
    std::string where = "adapter '" + source.name + "' at '" + siteName(site) + "': ";
    Result<std::vector<Output>> outputs =
        run(artifact, resources, form.prepare(), base, update, factor, dtypes);
    if (!outputs)
      return Error{where + outputs.error().message};
    adapter_entry_v1 &entry = result.entries.emplace(site.bank(), adapter_entry_v1{}).first->second;
    for (size_t i = 0; i < outputs->size(); ++i) {
      Output &output = (*outputs)[i];
      int slot = form.entry_slots(static_cast<int>(i));
      if (!output.elements())
        continue;
      bool whole = slot == biasSlot || slot == wholeSlot;
      auto [place, isNew] = filled.emplace(std::pair(site.bank(), slot), update.site);
      // A whole parameter was the base of the one that follows, which thus holds both.
      if (!isNew && (place->second != update.site || !whole || known == bases.end()))
        return Error{where +
                     "two updates of it cannot be combined in one batch; merge them, or use the adapter at "
                     "switch"};
      entry.tensor[slot] = output.data.get();
      EntrySizes &sizes = result.sizes[site.bank()];
      sizes.elements[slot] = output.elements();
      sizes.integers[slot] = output.dtype == i64;
      setExtents(site, slot, output.dims, entry);
      if (whole)
        bases[update.site] = Base{output.data.get(), output.dims, output.dtype};
      result.owners.push_back(std::move(output.data));
    }
  }
  return result;
}

Result<Materialised> materialise(const Artifact &artifact, Resources &resources, const Source &source,
                                 double factor) {
  Materialised result;
  for (const SiteUpdate &update : source.updates) {
    const artifact::Site &site = artifact.manifest.sites(update.site);
    Base base = pristine(artifact, site);
    std::shared_ptr<void> &current = result[site.parameter()];
    if (current)
      base.data = current.get();
    Result<std::vector<Output>> outputs = run(artifact, resources, findForm(site, update.form)->materialise(),
                                              base, update, factor, {base.dtype});
    std::string where = "adapter '" + source.name + "' at '" + siteName(site) + "': ";
    if (!outputs)
      return Error{where + outputs.error().message};
    if ((*outputs)[0].dims != base.dims)
      return Error{where + "the updated parameter has another shape than the base's"};
    current = std::move((*outputs)[0].data);
  }
  return result;
}

} // namespace adapter::runtime
