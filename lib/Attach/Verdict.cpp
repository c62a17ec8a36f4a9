// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Verdict.h. Families are told by modules that their implementations in transformers have and others do not.
#include "lib/Attach/Verdict.h"
#include "lib/Attach/Report.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace adapter;

std::string adapter::patternOfModule(StringRef path) {
  SmallVector<StringRef> parts;
  path.split(parts, '.');
  for (StringRef &part : parts)
    if (!part.empty() && llvm::all_of(part, llvm::isDigit))
      part = "*";
  return llvm::join(parts, ".");
}

namespace {
struct Family {
  StringRef name;
  SmallVector<StringRef, 3> modules; // ends of patterns, all of which it has
};
} // namespace

// The first that fits counts, so those that say more come first.
static ArrayRef<Family> families() {
  static const Family all[] = {
      {"CLIP", {"vision_model.encoder.layers.*.self_attn.q_proj"}},
      {"wav2vec 2.0", {"feature_extractor.conv_layers.*.conv"}},
      {"Whisper", {"encoder.conv1", "self_attn.q_proj"}},
      {"BART", {"layers.*.encoder_attn.q_proj", "fc1"}},
      {"Phi-3", {"self_attn.qkv_proj"}},
      {"Llama", {"layers.*.self_attn.q_proj", "layers.*.mlp.gate_proj"}},
      {"GPT-2", {"h.*.attn.c_attn"}},
      {"GPT-J", {"h.*.attn.q_proj"}},
      {"GPT-NeoX", {"layers.*.attention.query_key_value"}},
      {"BLOOM or Falcon", {"h.*.self_attention.query_key_value"}},
      {"T5", {"SelfAttention.q"}},
      {"DistilBERT", {"attention.q_lin"}},
      {"DeBERTa", {"attention.self.query_proj"}},
      {"ALBERT", {"albert_layers.*.attention.query"}},
      {"ViT", {"attention.attention.query"}},
      {"ViT", {"vit.layers.*.attention.q_proj"}},
      {"BERT", {"attention.self.query"}},
  };
  return all;
}

std::string adapter::familyOf(const std::set<std::string> &patterns) {
  auto has = [&](StringRef end) {
    return llvm::any_of(patterns, [&](StringRef pattern) {
      return pattern.consume_back(end) && (pattern.empty() || pattern.ends_with("."));
    });
  };
  for (const Family &family : families())
    if (llvm::all_of(family.modules, has))
      return family.name.str();
  return "";
}

// Modules of a kind that there are many of say what a graph is; the first in order stands for them.
static std::string typical(const std::set<std::string> &patterns) {
  for (const std::string &pattern : patterns)
    if (StringRef(pattern).contains('*'))
      return pattern;
  return patterns.empty() ? "" : *patterns.begin();
}

// The last two names of a path: "self_attn.q_proj".
static std::string endOf(StringRef path) {
  auto [before, last] = path.rsplit('.');
  StringRef parent = before.contains('.') ? before.rsplit('.').second : before;
  return last.empty() ? path.str() : (parent + "." + last).str();
}

// "BartForConditionalGeneration" and "BART" begin alike.
static std::string letters(StringRef text) {
  std::string result;
  for (char c : text)
    if (llvm::isAlnum(c))
      result += llvm::toLower(c);
  return result;
}

static std::set<std::string> patternsOfGraphs(const AttachPlan &plan) {
  std::set<std::string> patterns;
  for (const auto &table : plan.tables)
    for (const auto &[path, parameters] : table->modules())
      if (!path.empty())
        patterns.insert(patternOfModule(path));
  return patterns;
}

// Why none of an adapter's modules is in the graphs. "" where these have no names to be told by.
static std::string whyStranger(const checkpoint::Adapter &contents, const AttachPlan &plan,
                               const std::set<std::string> &modules) {
  std::set<std::string> there = patternsOfGraphs(plan), here;
  for (const std::string &module : modules)
    here.insert(patternOfModule(module));
  if (there.empty())
    return "";
  std::string own = familyOf(here), graphs = familyOf(there);
  std::set<std::string> ends;
  for (const std::string &pattern : there)
    ends.insert(endOf(pattern));
  bool isOfOne = own == graphs || StringRef(letters(contents.baseClass)).starts_with(letters(graphs));
  bool isTold = !graphs.empty() && !isOfOne && !(own.empty() && contents.baseClass.empty());
  // Modules that end alike may be those of another part of the model, whose names say enough.
  if (!isTold && llvm::any_of(here, [&](const std::string &pattern) { return ends.count(endOf(pattern)); }))
    return "";
  std::string base = contents.baseModel.empty() ? "" : " (" + contents.baseModel + ")";
  if (isTold)
    return "the adapter is for " + (contents.baseClass.empty() ? "a model like " + own : contents.baseClass) +
           base + ", the graph looks like " + graphs;
  return "the adapter" + base + " has modules like '" + typical(here) + "', the graph like '" +
         typical(there) + "'; export its base model, or say with --map 'OLD=NEW' how they are called there";
}

AdapterVerdict adapter::judge(const LoadedAdapter &adapter, const AttachPlan &plan,
                              const AttachReport &report) {
  AdapterVerdict verdict;
  verdict.adapter = adapter.request->name;
  verdict.hash = adapter.contents.hash;
  verdict.path = adapter.request->path;
  verdict.method = adapter.contents.method;
  verdict.base = adapter.contents.baseModel;
  std::set<std::string> all, left;
  for (const Placement &row : report.placements)
    if (row.adapter == verdict.adapter)
      all.insert(row.module);
  bool isMissing = true;
  for (const LeftOver &each : report.leftOver)
    if (each.adapter == verdict.adapter && !each.module.empty()) {
      left.insert(each.module);
      isMissing &= each.isMissing;
    }
  all.insert(left.begin(), left.end());
  verdict.modules = all.size();
  verdict.placed = all.size() - left.size();
  if (!verdict.placed && verdict.modules && isMissing)
    verdict.stranger = whyStranger(adapter.contents, plan, all);
  return verdict;
}

//===----------------------------------------------------------------------===//
// What has no place
//===----------------------------------------------------------------------===//

std::string LeftOver::text(StringRef name, size_t modules) const {
  std::string text = "adapter '" + adapter + "': ";
  if (module.empty())
    return text + why;
  text += modules == 1 ? "module" : std::to_string(modules) + " modules";
  text += (" '" + name + "' (" + what + "): " + why).str();
  if (!isMissing)
    return text;
  // What the graph calls it, or that it is meant.
  if (hasNearest)
    text += (", and --map '" + name + "=NAME' says which it is").str();
  return text + ("; --ignore-missing '" + name + "' says that it is meant").str();
}

// Modules that are missing alike, one line for each pattern of their paths. Of an adapter for another model no advice
// helps.
std::vector<std::string> adapter::leftOverLines(const AttachReport &report) {
  std::set<std::string> strangers;
  for (const AdapterVerdict &verdict : report.verdicts)
    if (!verdict.stranger.empty())
      strangers.insert(verdict.adapter);
  std::vector<std::pair<std::string, std::vector<const LeftOver *>>> groups; // in the order of the first
  for (const LeftOver &each : report.leftOver) {
    std::string key =
        each.isMissing ? each.adapter + "\n" + each.what + "\n" + patternOfModule(each.module) : each.text();
    auto group = llvm::find_if(groups, [&](const auto &known) { return known.first == key; });
    if (group == groups.end())
      group = groups.insert(groups.end(), {key, {}});
    group->second.push_back(&each);
  }
  std::vector<std::string> lines;
  for (const auto &[key, members] : groups) {
    LeftOver first = *members.front();
    if (strangers.count(first.adapter)) {
      first.why = "the graph has no such module";
      first.isMissing = false;
    }
    lines.push_back(
        first.text(members.size() == 1 ? first.module : patternOfModule(first.module), members.size()));
  }
  return lines;
}

std::string adapter::complaint(const AttachReport &report) {
  if (report.leftOver.empty())
    return "";
  for (const AdapterVerdict &verdict : report.verdicts)
    if (!verdict.stranger.empty())
      return "adapter '" + verdict.adapter + "': 0 of " + std::to_string(verdict.modules) +
             " modules found: " + verdict.stranger;
  size_t more = report.leftOver.size() - 1;
  return report.leftOver.front().text() +
         (more ? " (and " + std::to_string(more) + " more, see --check)" : std::string());
}
