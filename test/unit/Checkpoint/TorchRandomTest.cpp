// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Numbers that PyTorch 2.15 gives on a CPU for the same seeds.
#include "lib/Checkpoint/TorchRandom.h"
#include <algorithm>
#include <gtest/gtest.h>
#include <numeric>

using adapter::checkpoint::TorchGenerator;

TEST(TorchRandom, Uniform) {
  const std::vector<float> wanted = {0.08191531896591187f, 0.49113744497299194f, 0.40329331159591675f,
                                     0.3859199285507202f, 0.8813223242759705f};
  EXPECT_EQ(TorchGenerator(777).uniform(5), wanted);
}

TEST(TorchRandom, Permutation) {
  const std::vector<int64_t> wanted = {359, 192, 99, 0, 159, 189, 357, 132}, five = {1, 0, 3, 4, 2};
  EXPECT_EQ(TorchGenerator(777).permutation(24 * 16, 8), wanted);
  EXPECT_EQ(TorchGenerator(3).permutation(5, 5), five);
  // The first ones of a longer one are the same, and all are there once.
  std::vector<int64_t> all = TorchGenerator(777).permutation(24 * 16, 1000);
  EXPECT_TRUE(std::equal(wanted.begin(), wanted.end(), all.begin()));
  std::sort(all.begin(), all.end());
  std::vector<int64_t> numbers(24 * 16);
  std::iota(numbers.begin(), numbers.end(), 0);
  EXPECT_EQ(all, numbers);
}

// Fewer than 16 numbers come in another way than blocks of 16, of which the last overlaps.
TEST(TorchRandom, Normal) {
  const std::vector<float> few = {0.16834518313407898f, 0.06440470367670059f, 0.11723118275403976f,
                                  0.11516651511192322f, -0.5614281892776489f};
  std::vector<float> drawn = TorchGenerator(42).normal(5, 0.5);
  for (size_t i = 0; i < few.size(); ++i)
    EXPECT_NEAR(drawn[i], few[i], 1e-6);
  const std::vector<std::pair<size_t, float>> many = {
      {0, 0.9634576439857483f}, {4, 0.3392092287540436f},   {5, 0.539158821105957f},
      {15, 0.429929256439209f}, {16, -0.1548633873462677f}, {20, -0.29600027203559875f}};
  drawn = TorchGenerator(42).normal(21, 0.5);
  for (auto [i, wanted] : many)
    EXPECT_NEAR(drawn[i], wanted, 1e-6) << i;
}
