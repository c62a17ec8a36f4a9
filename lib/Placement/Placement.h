// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which rank has which expert of a layer, as many experts for each, and how good that is.
#ifndef ADAPTER_LIB_PLACEMENT_PLACEMENT_H
#define ADAPTER_LIB_PLACEMENT_PLACEMENT_H

#include "lib/Placement/Profile.h"

namespace adapter::placement {

using Placement = std::vector<int64_t>; // the rank of each expert

// Two ratios, both at least 1 and the smaller the better.
struct Quality {
  double balance = 1; // the largest load of a rank by the mean of all
  double copies = 1; // ranks that a token's experts lie on, each of which gets the token's row once; the mean

  // What placements are compared by: how much longer than balanced the slowest rank computes, and rows in relation to
  // one for each choice.
  double cost(int64_t top) const { return balance + copies / static_cast<double>(top ? top : 1); }
};

// Bytes that leave the rank of a token, the mean over tokens that are spread evenly: a row to each other rank, and for
// each expert there its number and the product that comes back.
double bytesPerToken(const Quality &quality, int64_t ranks, int64_t top, int64_t inputWidth,
                     int64_t outputWidth);

// Of a layer that was profiled. Balance is exact; copies are for one or two experts a token, else from the sample.
Quality qualityOf(const LayerProfile &layer, int64_t ranks, const Placement &placement);
// If all choices were as likely.
Quality expectedQuality(int64_t experts, int64_t top, int64_t ranks);

Placement contiguous(int64_t experts, int64_t ranks);
Placement roundRobin(int64_t experts, int64_t ranks);
// Balanced packing as in DeepSeek's EPLB (https://github.com/deepseek-ai/EPLB): experts by falling load, each to the
// least loaded rank that has room. Without replicas: a rank has each of its experts once.
Placement balancedPacking(const std::vector<int64_t> &loads, int64_t ranks);
// The best that swaps of two experts lead to from these and from other starts, by Quality::cost.
Placement optimise(const LayerProfile &layer, int64_t ranks);

} // namespace adapter::placement

#endif // ADAPTER_LIB_PLACEMENT_PLACEMENT_H
