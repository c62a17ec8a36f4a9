// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Matching of module paths by suffix.
#include "lib/Attach/Match.h"
#include "lib/Checkpoint/Adapter.h"
#include "llvm/ADT/STLExtras.h"
#include <algorithm>

using namespace mlir;
using namespace adapter;

// Modules of the graph that could be the checkpoint's and satisfy `accept`.
static std::vector<std::string> candidatesOf(const ModuleTable &table, const std::string &module,
                                             llvm::function_ref<bool(const std::string &)> accept) {
  std::vector<std::string> accepted;
  for (const auto &[path, parameters] : table.modules())
    if (checkpoint::pathsMatch(path, module) && accept(path))
      accepted.push_back(path);
  return checkpoint::matchingPaths(accepted, module);
}

Match adapter::matchModule(const ModuleTable &table, const std::string &module,
                           const std::string &parameter) {
  bool bias = parameter == "bias";
  std::vector<std::string> candidates = candidatesOf(table, module, [&](const std::string &path) {
    return !table.find(path, parameter).empty() || (bias && table.findBiasless(path));
  });
  Match match;
  if (candidates.size() > 1) {
    match.ambiguous = std::move(candidates);
    return match;
  }
  if (candidates.empty())
    return match;
  match.found = table.find(candidates.front(), parameter);
  if (match.found.empty())
    match.biasless = table.findBiasless(candidates.front());
  return match;
}

std::vector<std::string> adapter::nearestModules(const ModuleTable &table, const std::string &module) {
  // Wrappers' names in front do not count: as many components are compared as the module has.
  size_t components = std::count(module.begin(), module.end(), '.') + 1;
  std::vector<std::pair<unsigned, std::string>> ranked;
  for (const auto &[path, parameters] : table.modules()) {
    SmallVector<StringRef> parts;
    StringRef(path).split(parts, '.');
    ArrayRef<StringRef> end = ArrayRef(parts).take_back(std::min(components, parts.size()));
    ranked.push_back({StringRef(module).edit_distance(llvm::join(end, ".")), path});
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<std::string> result;
  for (size_t i = 0; i < ranked.size() && i < 3; ++i)
    result.push_back(ranked[i].second);
  return result;
}

std::vector<std::string> adapter::parametersOf(const ModuleTable &table, const std::string &module) {
  std::vector<std::string> result;
  for (const std::string &path : candidatesOf(table, module, [](const std::string &) { return true; }))
    for (const auto &parameter : table.modules().at(path))
      result.push_back(path + "." + parameter->parameter);
  return result;
}
