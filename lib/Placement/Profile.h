// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What routers chose while a model ran: how often each expert, and which of them together.
#ifndef ADAPTER_LIB_PLACEMENT_PROFILE_H
#define ADAPTER_LIB_PLACEMENT_PROFILE_H

#include "lib/Checkpoint/Result.h"
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace adapter::placement {

struct LayerProfile {
  std::string name, identity; // of the artifact's expert layer
  int64_t experts = 0;
  int64_t top = 0;    // experts of a token
  int64_t tokens = 0; // that were routed
  std::vector<int64_t> counts;
  // How many tokens chose both; the lower number first. A token that chose an expert twice counts under (e, e).
  std::map<std::pair<int32_t, int32_t>, int64_t> pairs;
  // What tokens chose, of a fair sample of them: pairs do not tell how many ranks three experts lie on.
  std::vector<std::vector<int32_t>> sample;
};

struct Profile {
  std::vector<LayerProfile> layers;
};

// Errors name the file. Whatever contradicts itself is refused.
checkpoint::Result<Profile> readProfile(const std::string &path);
checkpoint::Status writeProfile(const std::string &path, const Profile &profile);

} // namespace adapter::placement

#endif // ADAPTER_LIB_PLACEMENT_PROFILE_H
