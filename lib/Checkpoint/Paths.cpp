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

std::vector<std::string> matchingPaths(const std::vector<std::string> &paths, const Update &update) {
  std::vector<std::string> found;
  if (!update.flattened) {
    found = matchingPaths(paths, update.module);
  } else {
    size_t shortest = update.module.size();
    for (const std::string &path : paths)
      if (flattensTo(path, update.module))
        found.push_back(path);
    // Those that are equal come first, as above.
    auto behind = std::partition(found.begin(), found.end(),
                                 [&](const std::string &path) { return path.size() == shortest; });
    if (behind != found.begin())
      found.erase(behind, found.end());
  }
  std::vector<std::string> inPart;
  for (const std::string &path : found)
    if (("." + path).find("." + update.part + ".") != std::string::npos)
      inPart.push_back(path);
  return found.size() > 1 && !update.part.empty() && !inPart.empty() ? inPart : found;
}

} // namespace adapter::checkpoint
