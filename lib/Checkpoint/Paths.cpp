// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Module paths; see Adapter.h.
#include "lib/Checkpoint/Adapter.h"
#include <algorithm>

namespace adapter::checkpoint {

static bool isDottedSuffix(const std::string &longer, const std::string &suffix) {
  return !suffix.empty() && longer.size() > suffix.size() &&
         longer.compare(longer.size() - suffix.size(), suffix.size(), suffix) == 0 &&
         longer[longer.size() - suffix.size() - 1] == '.';
}

bool pathsMatch(const std::string &candidate, const std::string &module) {
  return candidate == module || isDottedSuffix(candidate, module) || isDottedSuffix(module, candidate);
}

std::vector<std::string> matchingPaths(const std::vector<std::string> &paths, const std::string &module) {
  std::vector<std::string> wrapped, part;
  for (const std::string &path : paths) {
    if (!pathsMatch(path, module))
      continue;
    if (path == module)
      return {path};
    if (path.size() > module.size())
      wrapped.push_back(path);
    else if (part.empty() || part[0].size() < path.size())
      part = {path};
  }
  return wrapped.empty() ? part : wrapped;
}

// Whether a path is a flattened module, or ends with it behind a dot.
static bool flattensTo(std::string path, const std::string &module) {
  size_t start = path.size() - std::min(path.size(), module.size());
  if (module.empty() || (start > 0 && path[start - 1] != '.'))
    return false;
  std::replace(path.begin(), path.end(), '.', '_');
  return path.compare(start, std::string::npos, module) == 0;
}

bool pathsMatch(const std::string &candidate, const Update &update) {
  return update.flattened ? flattensTo(candidate, update.module) : pathsMatch(candidate, update.module);
}

std::string spelledFor(std::string path, const Update &update) {
  if (update.flattened)
    std::replace(path.begin(), path.end(), '.', '_');
  return path;
}

bool isInPart(const std::string &path, const std::string &part) {
  return ("." + path).find("." + part + ".") != std::string::npos;
}

} // namespace adapter::checkpoint
