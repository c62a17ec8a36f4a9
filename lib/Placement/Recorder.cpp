// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Recorder.h.
#include "lib/Placement/Recorder.h"
#include <algorithm>
#include <exception>

namespace adapter::placement {

// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
uint64_t Recorder::random() {
  uint64_t z = state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

void Recorder::count(LayerProfile &layer, const int64_t *experts) {
  chosenTogether.clear();
  for (int64_t j = 0; j < layer.top; ++j) {
    ++layer.counts[experts[j]];
    for (int64_t i = 0; i < j; ++i)
      chosenTogether.emplace_back(static_cast<int32_t>(std::min(experts[i], experts[j])),
                                  static_cast<int32_t>(std::max(experts[i], experts[j])));
  }
  // Who chose an expert three times chose one pair of it.
  std::sort(chosenTogether.begin(), chosenTogether.end());
  chosenTogether.erase(std::unique(chosenTogether.begin(), chosenTogether.end()), chosenTogether.end());
  for (const auto &pair : chosenTogether)
    ++layer.pairs[pair];
  // Reservoir sampling: each token of those so far is kept as likely.
  uint64_t place = layer.sample.size();
  if (layer.sample.size() == sampleLimit)
    place = random() % static_cast<uint64_t>(layer.tokens + 1);
  if (place < sampleLimit) {
    std::vector<int32_t> chosen(experts, experts + layer.top);
    if (place == layer.sample.size())
      layer.sample.push_back(std::move(chosen));
    else
      layer.sample[place] = std::move(chosen);
  }
  ++layer.tokens;
}

void Recorder::record(int64_t at, int64_t tokens, int64_t top, const int64_t *experts) noexcept {
  try {
    if (!problem.empty() || tokens == 0 || top == 0)
      return;
    if (at < 0 || at >= static_cast<int64_t>(profile.layers.size())) {
      problem = "the code names an expert layer that the manifest lacks";
      return;
    }
    LayerProfile &layer = profile.layers[at];
    layer.counts.resize(layer.experts);
    if (layer.top == 0)
      layer.top = top;
    if (layer.top != top) {
      problem = "tokens of '" + layer.name + "' choose now " + std::to_string(layer.top) + ", now " +
                std::to_string(top) + " experts";
      return;
    }
    for (int64_t token = 0; token < tokens; ++token)
      count(layer, experts + token * top);
  } catch (const std::exception &exception) {
    problem = exception.what();
  }
}

} // namespace adapter::placement
