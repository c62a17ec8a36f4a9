// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See SiteMatch.h. All updates of an adapter are matched together, graph by graph.
#include "lib/Runtime/SiteMatch.h"
#include "lib/Checkpoint/ModuleMatch.h"
#include "lib/Runtime/Manifest.h"
#include <algorithm>
#include <set>

namespace adapter::runtime {

using checkpoint::Candidate;
using checkpoint::MatchItem;
using checkpoint::MatchResult;
using checkpoint::Update;

namespace {

using Item = std::pair<std::string, std::string>; // module and parameter

// The names of a message, not all where they are many.
std::string listOf(const std::set<std::string> &names) {
  std::string list;
  for (const std::string &each : names) {
    if (list.size() > 1000)
      return list + ", ...";
    list += (list.empty() ? "" : ", ") + each;
  }
  return list.empty() ? "none" : list;
}

// Outputs and inputs that the factors of a low-rank update have; other forms are not told apart by shapes here.
bool fits(const artifact::Site &site, const std::vector<const Update *> &updates) {
  for (const Update *update : updates) {
    auto a = update->tensors.find("A"), b = update->tensors.find("B");
    if (a == update->tensors.end() || b == update->tensors.end() || a->second.shape.size() != 2 ||
        b->second.shape.empty())
      continue;
    int64_t inner = a->second.shape[1], outer = b->second.shape[0];
    bool isTable = site.kind() == artifact::EMBEDDING;
    if ((isTable ? outer : inner) != site.columns() || (isTable ? inner : outer) != site.rows())
      return false;
  }
  return true;
}

class SiteMatcher {
public:
  SiteMatcher(const Artifact &artifact, const std::vector<int> &among, const std::vector<Update> &updates)
      : manifest(artifact.manifest) {
    for (int index : among)
      graphs[manifest.sites(index).graph()].push_back(index);
    for (const Update &update : updates) {
      Item item{update.module, update.parameter};
      if (byItem[item].empty())
        items.push_back(item);
      byItem[item].push_back(&update);
    }
    run();
  }

  std::map<Item, std::vector<int>> found;
  std::map<Item, std::string> problems;
  std::map<Item, bool> isUnclear; // whether more than another part of the model is the problem

private:
  void run();
  std::vector<MatchItem> candidatesIn(const std::string &graph, const std::vector<int> &sites) const;

  const artifact::Manifest &manifest;
  std::map<std::string, std::vector<int>> graphs; // sites by graph
  std::vector<Item> items;
  std::map<Item, std::vector<const Update *>> byItem;
};

std::vector<MatchItem> SiteMatcher::candidatesIn(const std::string &graph,
                                                 const std::vector<int> &sites) const {
  std::vector<MatchItem> result;
  for (const Item &item : items) {
    result.push_back({item.first, item.second, {}});
    const Update &update = *byItem.at(item).front();
    if (!checkpoint::canHoldPart(graph, update.part))
      continue;
    bool hasPart = !update.part.empty() && std::any_of(sites.begin(), sites.end(), [&](int index) {
      return checkpoint::isInPart(manifest.sites(index).module(), update.part);
    });
    std::set<std::string> seen;
    for (int index : sites) {
      const artifact::Site &site = manifest.sites(index);
      if (hasPart && !checkpoint::isInPart(site.module(), update.part))
        continue;
      if (site.parameter_name() == item.second && checkpoint::pathsMatch(site.module(), update) &&
          seen.insert(site.module()).second)
        result.back().candidates.push_back(
            {checkpoint::spelledFor(site.module(), update), fits(site, byItem.at(item)), site.module()});
    }
  }
  return result;
}

void SiteMatcher::run() {
  std::map<std::string, std::vector<MatchItem>> candidates;
  std::map<std::string, MatchResult> matches;
  std::set<std::string> chosen;
  auto nameOf = [&](const std::string &graph) {
    return graph.empty() && manifest.entries_size() == 1 ? manifest.entries(0).name() : graph;
  };
  for (const auto &[graph, sites] : graphs) {
    candidates[graph] = candidatesIn(nameOf(graph), sites);
    matches[graph] = checkpoint::matchModules(candidates[graph], nameOf(graph));
    if (!matches[graph].root.empty())
      chosen.insert(matches[graph].root);
  }
  for (auto &[graph, match] : matches)
    if (!match.rivals.empty())
      match = checkpoint::matchModules(candidates[graph], nameOf(graph), chosen);
  for (const auto &[graph, match] : matches)
    for (size_t i = 0; i < items.size(); ++i) {
      if (!match.problems[i].empty()) {
        problems[items[i]] = match.problems[i];
        isUnclear[items[i]] = isUnclear[items[i]] || !match.isElsewhere[i];
      }
      for (int index : graphs[graph]) {
        const artifact::Site &site = manifest.sites(index);
        if (!match.places[i].empty() && site.module() == match.places[i] &&
            site.parameter_name() == items[i].second)
          found[items[i]].push_back(index);
      }
    }
}

} // namespace

std::vector<Result<std::vector<int>>> matchSites(const Artifact &artifact, const std::vector<int> &among,
                                                 const std::vector<Update> &updates,
                                                 const std::string &where) {
  SiteMatcher matcher(artifact, among, updates);
  std::set<std::string> all;
  for (int index : among)
    all.insert(siteName(artifact.manifest.sites(index)));
  std::vector<Result<std::vector<int>>> result;
  for (const Update &update : updates) {
    auto found = matcher.found.find({update.module, update.parameter});
    auto problem = matcher.problems.find({update.module, update.parameter});
    if (found == matcher.found.end() || matcher.isUnclear[{update.module, update.parameter}]) {
      std::string name = "'" + update.module + "." + update.parameter + "'";
      result.push_back(Error{where + ": " +
                             (problem != matcher.problems.end() ? name + ": " + problem->second
                                                                : "the artifact has no room for " + name +
                                                                      "; it has room at: " + listOf(all))});
      continue;
    }
    std::vector<int> sites = found->second;
    std::set<int> tied;
    for (int index : sites)
      if (const artifact::Site &site = artifact.manifest.sites(index); update.tied)
        tied.insert(site.tied().begin(), site.tied().end());
    for (int index : tied)
      if (std::find(sites.begin(), sites.end(), index) == sites.end())
        sites.push_back(index);
    result.push_back(std::move(sites));
  }
  return result;
}

} // namespace adapter::runtime
