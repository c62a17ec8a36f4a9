// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Makes a profile of what a running model's routers choose.
#ifndef ADAPTER_LIB_PLACEMENT_RECORDER_H
#define ADAPTER_LIB_PLACEMENT_RECORDER_H

#include "lib/Placement/Profile.h"

namespace adapter::placement {

class Recorder {
public:
  static constexpr size_t sampleLimit = 1024; // tokens of a layer

  // Layers with name, identity and experts; the rest is counted here.
  explicit Recorder(std::vector<LayerProfile> layers) { profile.layers = std::move(layers); }

  // experts[t * top + j], each in [0, experts). Keeps every exception to itself, see fault().
  void record(int64_t layer, int64_t tokens, int64_t top, const int64_t *experts) noexcept;
  // Why the profile cannot be had; empty where it can.
  const std::string &fault() const { return problem; }
  const Profile &get() const { return profile; }

private:
  void count(LayerProfile &layer, const int64_t *experts);
  uint64_t random();
  Profile profile;
  std::string problem;
  std::vector<std::pair<int32_t, int32_t>> chosenTogether; // by one token
  uint64_t state = 0;                                      // the same sample in every run
};

} // namespace adapter::placement

#endif // ADAPTER_LIB_PLACEMENT_RECORDER_H
