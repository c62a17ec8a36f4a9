// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Module paths; see Adapter.h.
#include "lib/Checkpoint/Adapter.h"

namespace adapter::checkpoint {

static bool isDottedSuffix(const std::string &longer, const std::string &suffix) {
  return !suffix.empty() && longer.size() > suffix.size() &&
         longer.compare(longer.size() - suffix.size(), suffix.size(), suffix) == 0 &&
         longer[longer.size() - suffix.size() - 1] == '.';
}

bool pathsMatch(const std::string &candidate, const std::string &module) {
  return candidate == module || isDottedSuffix(candidate, module) || isDottedSuffix(module, candidate);
}

} // namespace adapter::checkpoint
