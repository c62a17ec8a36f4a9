// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Masked modules as one: what adapter-merge-modules does in the IR, for adapters that come after the build.
#include "lib/Checkpoint/Adapter.h"
#include "lib/Checkpoint/DType.h"

namespace adapter::checkpoint {

// The tensor that role.0, role.1 ... behind their masks make, computed in f64. Their reader has checked that they are
// floats of one shape, that masks hold zeros and ones, and where masks must be disjoint.
static Tensor fold(const std::map<std::string, Tensor> &tensors, const std::string &role,
                   const std::string &maskRole, const MaskedMix &mixture) {
  const Tensor &first = tensors.at(role + ".0");
  std::vector<double> sums(first.elements());
  for (int i = 0; i < mixture.count; ++i) {
    std::string number = "." + std::to_string(i);
    // Floats convert to f32 without loss.
    Tensor values = *toF32(tensors.at(role + number));
    const Tensor &mask = tensors.at(maskRole + number);
    auto *value = reinterpret_cast<const float *>(values.data);
    for (size_t at = 0; at < sums.size(); ++at)
      if (mask.data[at] != std::byte{0})
        sums[at] += value[at];
  }
  Tensor result = allocateTensor(DType::F32, first.shape);
  result.key = first.key;
  auto *to = reinterpret_cast<float *>(mutableData(result));
  for (size_t at = 0; at < sums.size(); ++at)
    to[at] = static_cast<float>(mixture.mode == MaskMode::Mean ? sums[at] / mixture.count : sums[at]);
  return result;
}

void Adapter::foldMasks() {
  for (Update &update : updates) {
    if (!update.masked)
      continue;
    std::map<std::string, Tensor> folded;
    for (const auto &[role, tensor] : update.tensors)
      if (role.find('.') == std::string::npos)
        folded.emplace(role, tensor);
    for (const char *role : {"B", "up", "up_bias"})
      if (update.tensors.count(std::string(role) + ".0"))
        folded[role] = fold(update.tensors, role, role == std::string("up_bias") ? "up_bias_mask" : "mask",
                            *update.masked);
    update.masked.reset();
    update.tensors = std::move(folded);
  }
}

} // namespace adapter::checkpoint
