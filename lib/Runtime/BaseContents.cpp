// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See BaseContents.h.
#include "lib/Runtime/BaseContents.h"
#include "lib/Checkpoint/DType.h"
#include <algorithm>
#include <cstring>

namespace adapter::runtime {

using checkpoint::DType;

// A weight [out, in] or, transposed, [in, out], beside a packed one: [blocks of out, in, block].
static bool sameAsPacked(const Tensor &value, bool transposed, const Tensor &packed) {
  int64_t in = packed.shape[1], block = packed.shape[2];
  int64_t out = value.shape[transposed];
  const auto *mine = reinterpret_cast<const uint32_t *>(value.data);
  const auto *other = reinterpret_cast<const uint32_t *>(packed.data);
  for (int64_t start = 0; start < out; start += block)
    for (int64_t i = 0; i < in; ++i, other += block) {
      int64_t width = std::min(block, out - start);
      const uint32_t *first = transposed ? mine + i * out + start : mine + start * in + i;
      for (int64_t j = 0; j < width; ++j)
        if (other[j] != first[transposed ? j : j * in])
          return false;
    }
  return true;
}

static bool holdsAlready(const Artifact &artifact, const artifact::Site &site, const Tensor &value) {
  if (site.parameter() < 0)
    return false;
  const Tensor &base = artifact.parameters[site.parameter()];
  if (value.dtype != DType::F32 || base.dtype != DType::F32)
    return false;
  if (site.kind() != artifact::LINEAR)
    return !site.transposed() && value.shape == base.shape &&
           std::memcmp(value.data, base.data, base.bytes) == 0;
  bool transposed = site.transposed();
  if (value.shape.size() != 2 || base.shape.size() != 3 || value.shape[transposed] != site.rows() ||
      value.shape[!transposed] != base.shape[1] || base.shape[2] <= 0 ||
      (site.rows() + base.shape[2] - 1) / base.shape[2] != base.shape[0])
    return false;
  return sameAsPacked(value, transposed, base);
}

Result<bool> changesNothing(const Artifact &artifact, const checkpoint::Update &update,
                            const std::vector<int> &sites) {
  const artifact::FormDefinition *definition = anyDefinition(artifact.manifest, update.form);
  std::string role = definition ? definition->replaces() : "";
  if (role.empty() || !update.tensors.count(role))
    return false;
  Result<Tensor> value = checkpoint::toF32(update.tensors.at(role));
  if (!value)
    return value.error();
  return std::all_of(sites.begin(), sites.end(),
                     [&](int site) { return holdsAlready(artifact, artifact.manifest.sites(site), *value); });
}

} // namespace adapter::runtime
