// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Placements: what they cost, and that none that is cheaper was missed.
#include "lib/Placement/Placement.h"
#include "lib/Placement/Recorder.h"
#include <algorithm>
#include <gtest/gtest.h>
#include <random>

using namespace adapter::placement;

namespace {

LayerProfile layerOf(int64_t experts, const std::vector<std::vector<int64_t>> &tokens) {
  LayerProfile layer;
  layer.name = "l";
  layer.experts = experts;
  Recorder recorder({layer});
  for (const std::vector<int64_t> &token : tokens)
    recorder.record(0, 1, static_cast<int64_t>(token.size()), token.data());
  EXPECT_EQ(recorder.fault(), "");
  return recorder.get().layers[0];
}

// Some experts far more often than others, and neighbours together.
LayerProfile skewed(int64_t experts, int64_t top, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::vector<int64_t>> tokens;
  for (int i = 0; i < 500; ++i) {
    std::vector<int64_t> token;
    auto first = static_cast<int64_t>(std::min(random() % experts, random() % experts));
    for (int64_t j = 0; j < top; ++j)
      token.push_back(random() % 3 ? (first * 5 + j * 3) % experts
                                   : static_cast<int64_t>(random() % experts));
    tokens.push_back(token);
  }
  return layerOf(experts, tokens);
}

// Written from the definitions, token by token.
Quality byDefinition(const LayerProfile &layer, int64_t ranks, const Placement &placement) {
  std::vector<double> loads(ranks);
  double copies = 0;
  for (const std::vector<int32_t> &token : layer.sample) {
    std::vector<bool> has(ranks);
    for (int32_t expert : token) {
      ++loads[placement[expert]];
      has[placement[expert]] = true;
    }
    copies += static_cast<double>(std::count(has.begin(), has.end(), true));
  }
  double sum = 0;
  for (double load : loads)
    sum += load;
  return {*std::max_element(loads.begin(), loads.end()) * static_cast<double>(ranks) / sum,
          copies / static_cast<double>(layer.sample.size())};
}

void expectEven(const Placement &placement, int64_t ranks) {
  for (int64_t rank = 0; rank < ranks; ++rank)
    EXPECT_EQ(std::count(placement.begin(), placement.end(), rank),
              static_cast<int64_t>(placement.size()) / ranks);
}

} // namespace

TEST(Placement, WithoutProfile) {
  EXPECT_EQ(contiguous(8, 4), Placement({0, 0, 1, 1, 2, 2, 3, 3}));
  EXPECT_EQ(roundRobin(8, 4), Placement({0, 1, 2, 3, 0, 1, 2, 3}));
  EXPECT_EQ(contiguous(3, 1), Placement({0, 0, 0}));
  // Two of four experts on two ranks: on one rank in 2 of 6 cases.
  EXPECT_NEAR(expectedQuality(4, 2, 2).copies, 1 * (2.0 / 6) + 2 * (4.0 / 6), 1e-12);
  EXPECT_NEAR(expectedQuality(8, 8, 4).copies, 4, 1e-12);
  EXPECT_NEAR(expectedQuality(8, 1, 4).copies, 1, 1e-12);
}

TEST(Placement, BalancedPacking) {
  // 90 and 20 go apart; 20 fills the lighter rank, and 1 goes where there is room.
  EXPECT_EQ(balancedPacking({90, 20, 1, 20}, 2), Placement({0, 1, 0, 1}));
  // Equal loads: the lower number first, to the lower rank.
  EXPECT_EQ(balancedPacking({5, 5, 5, 5}, 2), Placement({0, 1, 0, 1}));
  EXPECT_EQ(balancedPacking({1, 2, 3, 4, 5, 6}, 3), Placement({0, 1, 2, 2, 1, 0}));
}

TEST(Placement, QualityByDefinition) {
  for (int64_t top : {1, 2, 3, 4})
    for (uint64_t seed = 0; seed < 5; ++seed) {
      LayerProfile layer = skewed(12, top, seed);
      for (const Placement &placement :
           {contiguous(12, 3), roundRobin(12, 3), balancedPacking(layer.counts, 3), optimise(layer, 3)}) {
        Quality quality = qualityOf(layer, 3, placement), expected = byDefinition(layer, 3, placement);
        EXPECT_NEAR(quality.balance, expected.balance, 1e-9);
        EXPECT_NEAR(quality.copies, expected.copies, 1e-9);
      }
    }
}

TEST(Placement, Bytes) {
  // Half of what is sent stays: a row of 3, two products of 5 and their numbers.
  EXPECT_NEAR(bytesPerToken({1, 1.5}, 2, 2, 3, 5), 0.5 * (1.5 * 12 + 2 * (20 + 8)), 1e-12);
  EXPECT_EQ(bytesPerToken({1, 1}, 1, 2, 3, 5), 0);
}

// Of all 70 placements on 2 ranks and all 2520 on 4 none is better than the one that is found.
TEST(Placement, OptimumOfEight) {
  for (int64_t ranks : {2, 4})
    for (int64_t top : {1, 2, 3})
      for (uint64_t seed = 0; seed < 6; ++seed) {
        LayerProfile layer = skewed(8, top, seed);
        Placement placement = contiguous(8, ranks);
        double lowest = 1e9;
        do
          lowest = std::min(lowest, qualityOf(layer, ranks, placement).cost(top));
        while (std::next_permutation(placement.begin(), placement.end()));
        Placement found = optimise(layer, ranks);
        expectEven(found, ranks);
        EXPECT_NEAR(qualityOf(layer, ranks, found).cost(top), lowest, 1e-6)
            << ranks << " " << top << " " << seed;
      }
}

TEST(Placement, NoWorseThanOthers) {
  for (int64_t experts : {16, 64}) {
    LayerProfile layer = skewed(experts, 4, 1);
    for (int64_t ranks : {2, 8}) {
      Placement found = optimise(layer, ranks);
      expectEven(found, ranks);
      double cost = qualityOf(layer, ranks, found).cost(4);
      for (const Placement &other :
           {contiguous(experts, ranks), roundRobin(experts, ranks), balancedPacking(layer.counts, ranks)})
        EXPECT_LE(cost, qualityOf(layer, ranks, other).cost(4) + 1e-9);
    }
  }
}

TEST(Placement, EqualInEveryRun) {
  LayerProfile layer = skewed(16, 2, 3);
  EXPECT_EQ(optimise(layer, 4), optimise(layer, 4));
}
