// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Matching of module paths by suffix.
#include "lib/Attach/Match.h"
#include "lib/Attach/GraphNames.h"
#include "lib/Checkpoint/Adapter.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include <algorithm>
#include <map>

using namespace mlir;
using namespace adapter;

// Modules of the graph that could be the checkpoint's and satisfy `accept`.
static std::vector<std::string> candidatesOf(const ModuleTable &table, const std::string &module,
                                             llvm::function_ref<bool(const std::string &)> accept) {
  for (size_t spelling = 0; spelling < 2; ++spelling) {
    std::vector<std::string> accepted;
    std::map<std::string, std::string> paths; // by name
    for (const auto &[path, parameters] : table.modules()) {
      std::vector<std::string> spellings = spellingsOf(path);
      if (spelling >= spellings.size())
        continue;
      const std::string &name = spellings[spelling];
      if (!checkpoint::pathsMatch(name, module) || !accept(path))
        continue;
      accepted.push_back(name);
      paths.emplace(name, path);
    }
    std::vector<std::string> result = checkpoint::matchingPaths(accepted, module);
    for (std::string &each : result)
      each = paths.at(each);
    if (!result.empty())
      return result;
  }
  return {};
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

std::vector<ModuleParameter *> adapter::embeddingsCalled(const ModuleTable &table,
                                                         const std::string &module) {
  std::vector<ModuleParameter *> result;
  for (const auto &[path, parameters] : table.modules())
    for (const auto &parameter : parameters) {
      if (parameter->kind != SiteKind::Embedding || !parameter->value)
        continue;
      StringRef name = parameter->value.getKey();
      if (name.consume_back(".weight") && checkpoint::pathsMatch(name.str(), module))
        result.push_back(parameter.get());
    }
  return result;
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
