// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See ModuleMatch.h. An equal path counts before any root; then roots that graphs add; then those that they leave out.
#include "lib/Checkpoint/ModuleMatch.h"
#include "lib/Checkpoint/Adapter.h"
#include <algorithm>
#include <optional>

namespace adapter::checkpoint {

namespace {

using Roots = std::map<std::string, std::map<size_t, const Candidate *>>; // by root, then by item

std::string quoted(const std::string &text) { return "'" + text + "'"; }

// The names in front of `end` in `path`, which ends with it.
std::string inFront(const std::string &path, const std::string &end) {
  return path.substr(0, path.size() - end.size() - 1);
}

std::string lastName(const std::string &path) { return path.substr(path.rfind('.') + 1); }

// Whether a file's name says that it holds a part of a model: "encoder_model" holds the encoder. The length of what
// it says; 0: nothing.
size_t namesPart(const std::string &graphName, const std::string &part) {
  for (size_t at = graphName.find(part); !part.empty() && at != std::string::npos;
       at = graphName.find(part, at + 1)) {
    auto isBorder = [](char c) { return c == '_' || c == '-' || c == '.'; };
    size_t end = at + part.size();
    if ((at == 0 || isBorder(graphName[at - 1])) && (end == graphName.size() || isBorder(graphName[end])))
      return part.size();
  }
  return 0;
}

class Matcher {
public:
  Matcher(const std::vector<MatchItem> &items, const std::string &graphName,
          const std::set<std::string> &elsewhere, bool byContents)
      : items(items), graphName(graphName), elsewhere(elsewhere), byContents(byContents) {
    result.paths.resize(items.size());
    result.problems.resize(items.size());
    result.places.resize(items.size());
    result.isElsewhere.resize(items.size());
  }

  MatchResult run() {
    refuseAlike();
    takeEqual();
    collectRoots();
    takeAdded();
    takeLeftOut();
    refuseTwins();
    return std::move(result);
  }

private:
  void refuseAlike();
  void take(size_t item, const Candidate &candidate) {
    result.paths[item] = candidate.path;
    result.places[item] = candidate.place;
  }
  void takeEqual();
  void collectRoots();
  void takeAdded();
  void takeLeftOut();
  void refuseTwins();
  bool isComplete(const std::string &root) const;
  std::string chooseLeftOut(std::vector<std::string> roots) const;
  std::string nameHint(const std::vector<std::string> &roots) const;
  bool isUnsaidPart(const std::string &root) const;
  void refuse(const std::vector<std::string> &roots, const std::string &why, bool isElsewhere = false);

  const std::vector<MatchItem> &items;
  const std::string &graphName;
  const std::set<std::string> &elsewhere;
  bool byContents;
  Roots added, leftOut;
  MatchResult result;
};

// Two modules of the graph that a checkpoint would write alike cannot be told apart.
void Matcher::refuseAlike() {
  for (size_t i = 0; i < items.size(); ++i) {
    std::map<std::string, std::string> places;
    for (const Candidate &candidate : items[i].candidates)
      if (const std::string &known = places.emplace(candidate.path, candidate.place).first->second;
          known != candidate.place)
        result.problems[i] = "several modules of the graph could be meant: " + quoted(known) + ", " +
                             quoted(candidate.place) + "; --map 'OLD=NEW' says which";
  }
}

void Matcher::takeEqual() {
  for (size_t i = 0; i < items.size(); ++i)
    for (const Candidate &candidate : items[i].candidates)
      if (candidate.path == items[i].module && result.problems[i].empty())
        take(i, candidate);
}

// Of the paths that are the end of a module's, the longest counts.
void Matcher::collectRoots() {
  for (size_t i = 0; i < items.size(); ++i) {
    if (!result.paths[i].empty() || !result.problems[i].empty())
      continue;
    const Candidate *longest = nullptr;
    bool isWrapped = false;
    for (const Candidate &candidate : items[i].candidates)
      if (candidate.path.size() > items[i].module.size()) {
        added[inFront(candidate.path, items[i].module)][i] = &candidate;
        isWrapped = true;
      } else if (!longest || longest->path.size() < candidate.path.size()) {
        longest = &candidate;
      }
    if (!isWrapped && longest)
      leftOut[inFront(items[i].module, longest->path)][i] = longest;
  }
}

void Matcher::refuse(const std::vector<std::string> &roots, const std::string &why, bool isElsewhere) {
  for (const std::string &root : roots)
    for (const Roots *all : {&added, &leftOut})
      if (auto found = all->find(root); found != all->end())
        for (const auto &[item, candidate] : found->second)
          if (result.paths[item].empty()) {
            result.problems[item] = why;
            result.isElsewhere[item] = isElsewhere;
          }
}

// One of several roots must hold all modules that have a place under any of them, and be the only one.
void Matcher::takeAdded() {
  std::set<size_t> wanted;
  for (const auto &[root, places] : added)
    for (const auto &[item, candidate] : places)
      wanted.insert(item);
  std::vector<std::string> all, fitting, roots;
  for (const auto &[root, places] : added) {
    roots.push_back(root);
    if (places.size() != wanted.size())
      continue;
    all.push_back(root);
    if (std::all_of(places.begin(), places.end(), [](const auto &each) { return each.second->fits; }))
      fitting.push_back(root);
  }
  std::vector<std::string> &left = fitting.empty() ? all : fitting;
  if (left.size() == 1) {
    for (const auto &[item, candidate] : added[left[0]])
      take(item, *candidate);
    return;
  }
  for (size_t item : wanted) {
    std::string list;
    for (const auto &[root, places] : added)
      if (auto found = places.find(item); found != places.end())
        list += (list.empty() ? "" : ", ") + quoted(found->second->path);
    std::string several = "several modules of the graph could be meant: " + list;
    if (left.empty())
      several = "the graph has it as " + list +
                ", but under another root than other modules of the adapter (" + quoted(roots.front()) +
                ", " + quoted(roots.back()) + ")";
    result.problems[item] = several + "; --map 'OLD=NEW' says which";
  }
}

// Whether all modules below a root have a place under it that fits.
bool Matcher::isComplete(const std::string &root) const {
  const auto &places = leftOut.at(root);
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].module.rfind(root + ".", 0) != 0)
      continue;
    auto found = places.find(i);
    bool isEqual = !result.paths[i].empty();
    if (!isEqual && (found == places.end() || !found->second->fits))
      return false;
  }
  return true;
}

std::string Matcher::nameHint(const std::vector<std::string> &roots) const {
  std::string best;
  size_t length = 0, times = 0;
  for (const std::string &root : roots)
    if (size_t own = namesPart(graphName, lastName(root)); own > 0 && own >= length) {
      times = own == length ? times + 1 : 1;
      length = own;
      best = root;
    }
  return times == 1 ? best : "";
}

// Of roots that contradict each other the one that is meant, or "".
std::string Matcher::chooseLeftOut(std::vector<std::string> roots) const {
  std::vector<std::string> complete;
  std::copy_if(roots.begin(), roots.end(), std::back_inserter(complete),
               [&](const std::string &root) { return isComplete(root); });
  if (complete.size() == 1)
    return complete[0];
  if (!complete.empty())
    roots = complete;
  // A decoder has all that an encoder has: a root that explains more of the graph than each of the others.
  auto pathsOf = [&](const std::string &root) {
    std::set<std::string> paths;
    for (const auto &[item, candidate] : leftOut.at(root))
      paths.insert(candidate->path + "." + items[item].parameter);
    return paths;
  };
  for (const std::string &root : complete) {
    std::set<std::string> own = pathsOf(root);
    bool isMost = std::all_of(complete.begin(), complete.end(), [&](const std::string &other) {
      std::set<std::string> theirs = pathsOf(other);
      return other == root || (theirs.size() < own.size() &&
                               std::includes(own.begin(), own.end(), theirs.begin(), theirs.end()));
    });
    if (isMost)
      return root;
  }
  return nameHint(roots);
}

// Whether a root is one of several parts of a model that are built alike, of which nothing says that the graph is this one:
// neither its name nor contents.
bool Matcher::isUnsaidPart(const std::string &root) const {
  static const std::set<std::string> parts = {"encoder",      "decoder",      "text_model",
                                              "vision_model", "text_encoder", "text_encoder_2"};
  const auto &places = leftOut.at(root);
  bool fits = std::all_of(places.begin(), places.end(), [](const auto &each) { return each.second->fits; });
  // Where the other part has its own graph, or is said to be missing, this one is meant.
  bool isLeft = std::any_of(elsewhere.begin(), elsewhere.end(), [&](const std::string &other) {
    return parts.count(lastName(other)) && lastName(other) != lastName(root);
  });
  return parts.count(lastName(root)) && !isLeft && !namesPart(graphName, lastName(root)) &&
         !(byContents && fits);
}

void Matcher::takeLeftOut() {
  std::vector<std::string> roots;
  for (const auto &[root, places] : leftOut)
    if (!elsewhere.count(root))
      roots.push_back(root);
  if (roots.empty())
    return;
  std::string chosen = roots.size() == 1 ? roots[0] : chooseLeftOut(roots);
  if (roots.size() == 1 && isUnsaidPart(chosen)) {
    refuse(roots,
           "the graph has such a module, but nothing says that it is the part " + quoted(chosen) +
               " of the adapter's model: not its name, " + quoted(graphName) +
               "; --base CHECKPOINT tells, or --map '" + chosen + ".*=*' says so",
           /*isElsewhere=*/true);
    return;
  }
  if (chosen.empty()) {
    std::string list, modules;
    for (const std::string &root : roots)
      list += (list.empty() ? "" : ", ") + quoted(root);
    for (const std::string &root : roots)
      for (const auto &[item, candidate] : leftOut.at(root)) {
        modules += (modules.empty() ? "" : " and ") + quoted(items[item].module);
        break;
      }
    refuse(roots, "the adapter has " + modules + ", and the graph could be any of the parts " + list +
                      (byContents ? "; " : "; --base CHECKPOINT tells, or ") +
                      "take the others out with --ignore-missing '" + roots.back() +
                      ".*' or say which is meant with --map '" + roots.front() + ".*=*'");
    result.rivals = roots;
    return;
  }
  result.root = chosen;
  for (const auto &[item, candidate] : leftOut.at(chosen))
    take(item, *candidate);
  roots.erase(std::find(roots.begin(), roots.end(), chosen));
  refuse(roots,
         "the graph is " + quoted(chosen) +
             " of the adapter's model, not what this module is in; "
             "--ignore-missing takes such modules out",
         /*isElsewhere=*/true);
}

// Two modules never have one place.
void Matcher::refuseTwins() {
  std::map<std::pair<std::string, std::string>, std::vector<size_t>> owners;
  for (size_t i = 0; i < items.size(); ++i)
    if (!result.paths[i].empty())
      owners[{result.paths[i], items[i].parameter}].push_back(i);
  for (const auto &[place, all] : owners) {
    std::string equal; // the module that is called as the graph's is
    for (size_t i : all)
      if (items[i].module == result.paths[i])
        equal = items[i].module;
    std::set<std::string> modules;
    for (size_t i : all)
      modules.insert(items[i].module);
    if (modules.size() == 1)
      continue;
    for (size_t i : all) {
      if (items[i].module == equal)
        continue;
      std::string other;
      for (const std::string &module : modules)
        if (module != items[i].module && (equal.empty() || module == equal))
          other = module;
      result.problems[i] = "the graph's module " + quoted(place.first) + " could be it, but also " +
                           quoted(other) +
                           " of the same adapter; --map 'OLD=NEW' says which, --ignore-missing takes one out";
      result.paths[i].clear();
      result.places[i].clear();
    }
  }
}

} // namespace

bool canHoldPart(const std::string &graphName, const std::string &part) {
  std::string longest;
  for (const char *known : {"unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3", "vae",
                            "vae_encoder", "vae_decoder", "prior", "controlnet", "image_encoder"})
    if (size_t length = namesPart(graphName, known); length > longest.size())
      longest = known;
  return part.empty() || longest.empty() || longest == part ||
         (part == "diffusion_model" && (longest == "unet" || longest == "transformer"));
}

MatchResult matchModules(const std::vector<MatchItem> &items, const std::string &graphName,
                         const std::set<std::string> &elsewhere, bool byContents) {
  return Matcher(items, graphName, elsewhere, byContents).run();
}

// Matches `pattern`, in which '*' is any text, with the start of `text`.
static bool matchStart(const std::string &pattern, const std::string &text, std::vector<std::string> &stars,
                       size_t &length) {
  size_t star = pattern.find('*');
  if (star == std::string::npos) {
    length = pattern.size();
    return text.compare(0, length, pattern) == 0 && (text.size() == length || text[length] == '.');
  }
  if (text.compare(0, star, pattern, 0, star))
    return false;
  std::string rest = pattern.substr(star + 1);
  for (size_t end = text.size() + 1; end-- > star;) {
    stars.push_back(text.substr(star, end - star));
    size_t more = 0;
    if (matchStart(rest, text.substr(end), stars, more)) {
      length = end + more;
      return true;
    }
    stars.pop_back();
  }
  return false;
}

bool rename(const Renaming &renaming, std::string &path) {
  std::vector<std::string> stars;
  size_t length = 0;
  if (!matchStart(renaming.from, path, stars, length))
    return false;
  std::string renamed;
  size_t next = 0;
  for (char c : renaming.to)
    if (c != '*')
      renamed += c;
    else if (next < stars.size())
      renamed += stars[next++];
  path = renamed + path.substr(length);
  if (!path.empty() && path.front() == '.')
    path.erase(0, 1);
  return true;
}

} // namespace adapter::checkpoint
