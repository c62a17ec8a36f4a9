// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The numbers that PyTorch's generator on a CPU gives for a seed: tensors that an adapter's file leaves out because they
// can be drawn again. Each function begins with a fresh generator, as torch.Generator().manual_seed(seed) is one. Follows
// aten/src/ATen/native/cpu/DistributionTemplates.h and TensorFactories.cpp of PyTorch 2.
#ifndef ADAPTER_LIB_CHECKPOINT_TORCHRANDOM_H
#define ADAPTER_LIB_CHECKPOINT_TORCHRANDOM_H

#include <cstdint>
#include <random>
#include <vector>

namespace adapter::checkpoint {

class TorchGenerator {
public:
  explicit TorchGenerator(uint64_t seed) : words(static_cast<uint32_t>(seed)) {}
  uint32_t word() { return static_cast<uint32_t>(words()); }
  uint64_t longWord() {
    uint64_t high = word();
    return high << 32 | word();
  }

  // torch.rand of this many float32: each from `from` to below `to`.
  std::vector<float> uniform(int64_t count, double from = 0.0, double to = 1.0);
  // torch.normal of a mean of 0, float32. Equal to torch's up to its sine and logarithm, some 5e-7.
  std::vector<float> normal(int64_t count, double deviation);
  // The first `count` of torch.randperm(n).
  std::vector<int64_t> permutation(int64_t n, int64_t count);

private:
  double wide(); // from 0 to below 1 in steps of 2^-53

  std::mt19937 words;
};

inline std::vector<float> torchNormal(uint64_t seed, int64_t count, double deviation) {
  return TorchGenerator(seed).normal(count, deviation);
}

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_TORCHRANDOM_H
