// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The table of the methods of combining, and the settings that they have.
#include "lib/Diff/CombineMethods.h"
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>

namespace adapter::diff {

using checkpoint::Error;
using checkpoint::Result;

static const std::vector<Method> &methods() {
  static const std::string peft = "PEFT", ties = "arXiv 2306.01708, PEFT", dare = "arXiv 2311.03099, PEFT",
                           della = "DELLA, arXiv 2406.11617, mergekit", apart = "A and B apart, as ";
  static constexpr size_t any = std::numeric_limits<size_t>::max();
  static const std::vector<Method> table = {
      {"sum", Level::Stacks, "exactly the sum of w U; ranks add up", peft},
      {"cat", Level::Stacks, "as sum, by PEFT's name", peft},
      {"flora", Level::Stacks, "as sum: stacked factors", "FLoRA, arXiv 2409.05976"},
      {"task_arithmetic", Level::Stacks, "as sum; with a rank as svd", "arXiv 2212.04089", {"rank"}},
      {"svd", Level::Updates, "the sum of w U", peft, {"rank"}, weightedSum},
      {"linear", Level::Factors, "A and B summed apart, which is not the sum of U", peft, {}, weightedSum},
      {"magnitude_prune",
       Level::Factors,
       apart + "magnitude_prune_svd",
       peft,
       {"density!"},
       weightedSum,
       keepLargest},
      {"magnitude_prune_svd",
       Level::Updates,
       "the sum of the largest elements of each",
       peft,
       {"density!", "rank"},
       weightedSum,
       keepLargest},
      {"ties", Level::Factors, apart + "ties_svd", ties, {"density!", "sign"}, elected, keepLargest},
      {"ties_svd",
       Level::Updates,
       "of the largest elements of each the mean of the majority's sign",
       ties,
       {"density!", "sign", "rank"},
       elected,
       keepLargest},
      {"dare_linear",
       Level::Factors,
       apart + "dare_linear_svd",
       dare,
       {"density!", "seed"},
       weightedSum,
       keepRandom},
      {"dare_linear_svd",
       Level::Updates,
       "the sum of random elements of each, divided by the density",
       dare,
       {"density!", "seed", "rank"},
       weightedSum,
       keepRandom},
      {"dare_ties",
       Level::Factors,
       apart + "dare_ties_svd",
       dare,
       {"density!", "sign", "seed"},
       elected,
       keepRandom},
      {"dare_ties_svd",
       Level::Updates,
       "of those the mean of the majority's sign",
       dare,
       {"density!", "sign", "seed", "rank"},
       elected,
       keepRandom},
      {"breadcrumbs",
       Level::Updates,
       "the sum of each without its smallest and its largest elements",
       "Model Breadcrumbs, arXiv 2312.06795, mergekit",
       {"beta!", "gamma", "rank"},
       weightedSum,
       keepMiddle},
      {"della_linear",
       Level::Updates,
       "the sum of random elements of each, the larger in its row the likelier, divided by the chance",
       della,
       {"density!", "epsilon", "seed", "rank"},
       weightedSum,
       keepByRank},
      {"della",
       Level::Updates,
       "of those the mean of the majority's sign",
       della,
       {"density!", "epsilon", "sign", "seed", "rank"},
       elected,
       keepByRank},
      {"slerp",
       Level::Updates,
       "between two, along the arc from the first to the second",
       "mergekit",
       {"t!", "rank"},
       onSphere,
       nullptr,
       2,
       2,
       /*countsAll=*/true},
      {"model_stock",
       Level::Updates,
       "their mean, the shorter the wider the angles between them",
       "arXiv 2403.19522, mergekit",
       {"rank"},
       byAngle,
       nullptr,
       2,
       any,
       /*countsAll=*/true},
      {"knots",
       Level::Updates,
       "ties_svd, in the directions that all span together",
       "KnOTS, arXiv 2410.19735",
       {"density", "sign", "rank"},
       aligned},
      {"opcm",
       Level::Updates,
       "one after the other, each without what lies in the directions of those before",
       "OPCM, arXiv 2501.09522",
       {"alpha", "rank"},
       oneByOne,
       nullptr,
       1,
       any,
       false,
       /*keepsNorm=*/true},
      {"lego",
       Level::Units,
       "rows of A with columns of B in clusters, the mean of each at the length of its units",
       "LoRA-LEGO, arXiv 2409.16167",
       {"rank", "seed"}},
      {"fed_sb", Level::Middles, "of products B R A with the same A and B the mean of R",
       "Fed-SB, arXiv 2502.15436"},
  };
  return table;
}

namespace {
// A setting: what it is for people, and how a value is taken.
struct Setting {
  const char *name, *help;
  bool (*take)(Combination &how, const std::string &value);
};
} // namespace

template <typename T>
static bool take(const std::string &value, T &place, T least, T most, bool isOpen) {
  T number{};
  if (!CLI::detail::lexical_cast(value, number) || !(number >= least && number <= most) ||
      (isOpen && number == least))
    return false;
  place = number;
  return true;
}

static constexpr Setting settings[] = {
    {"density", "density=D (above 0, up to 1): the share of elements that are kept",
     [](Combination &how, const std::string &value) { return take(value, how.density, 0.0, 1.0, true); }},
    {"beta", "beta=B (0 to 1): the share of elements that are left out as the smallest",
     [](Combination &how, const std::string &value) { return take(value, how.beta, 0.0, 1.0, false); }},
    {"gamma", "gamma=G (0 to 1; 0.01): the share that is left out as the largest",
     [](Combination &how, const std::string &value) { return take(value, how.gamma, 0.0, 1.0, false); }},
    {"epsilon", "epsilon=E (0 to 0.5; 0.15): chances are density-E for the smallest up to density+E",
     [](Combination &how, const std::string &value) { return take(value, how.epsilon, 0.0, 0.5, false); }},
    {"t", "t=T (0 to 1): how far from the first to the second",
     [](Combination &how, const std::string &value) { return take(value, how.t, 0.0, 1.0, false); }},
    {"alpha", "alpha=A (0 to 1; 0.5): the share of singular values whose directions are closed",
     [](Combination &how, const std::string &value) { return take(value, how.alpha, 0.0, 1.0, false); }},
    {"sign", "sign=total|frequency: the majority is of the elements' sum, or of their signs",
     [](Combination &how, const std::string &value) {
       how.countsSigns = value == "frequency";
       return how.countsSigns || value == "total";
     }},
    {"seed", "seed=N: of what chance decides",
     [](Combination &how, const std::string &value) { return CLI::detail::lexical_cast(value, how.seed); }},
    {"rank", "rank=R|full (the largest of the adapters'; full where one has none)",
     [](Combination &how, const std::string &value) {
       if (value == "full")
         how.rank = fullRank;
       return value == "full" || take(value, how.rank, int64_t(1), fullRank, false);
     }},
};

static bool isRequired(const std::string &setting) { return setting.back() == '!'; }
static std::string bare(const std::string &setting) {
  return isRequired(setting) ? setting.substr(0, setting.size() - 1) : setting;
}

static const Setting &settingCalled(const std::string &name) {
  return *std::find_if(std::begin(settings), std::end(settings),
                       [&](const Setting &each) { return each.name == name; });
}

static const Method *methodCalled(const std::string &name) {
  const std::vector<Method> &all = methods();
  auto found = std::find_if(all.begin(), all.end(), [&](const Method &each) { return each.name == name; });
  return found == all.end() ? nullptr : &*found;
}

static bool hasSetting(const Method &method, const std::string &name) {
  return std::any_of(method.settings.begin(), method.settings.end(),
                     [&](const std::string &each) { return bare(each) == name; });
}

bool hasSetting(const std::string &method, const std::string &name) {
  const Method *found = methodCalled(method);
  return found && hasSetting(*found, name);
}

// What contradicts itself though each setting is in its range; "" where nothing does.
static std::string whyContradicting(const Combination &how) {
  if (hasSetting(*how.method, "beta") && how.beta + how.gamma >= 1)
    return "beta and gamma together leave no element; their sum is below 1";
  if (hasSetting(*how.method, "epsilon") && how.density < 1 &&
      (how.density - how.epsilon <= 0 || how.density + how.epsilon >= 1))
    return "density-epsilon and density+epsilon are chances; both lie between 0 and 1";
  return "";
}

Result<Combination> parseCombination(const std::string &text) {
  std::vector<std::string> words = CLI::detail::split(text, ',');
  Combination how;
  how.method = methodCalled(words[0]);
  if (!how.method) {
    std::string names;
    for (const Method &each : methods())
      names += (names.empty() ? "" : ", ") + each.name;
    return Error{"there is no method '" + words[0] + "'; there are " + names};
  }
  std::vector<std::string> given;
  for (size_t i = 1; i < words.size(); ++i) {
    size_t equals = words[i].find('=');
    std::string name = words[i].substr(0, equals),
                value = equals == std::string::npos ? "" : words[i].substr(equals + 1);
    bool isTwice = std::find(given.begin(), given.end(), name) != given.end();
    if (isTwice || !hasSetting(*how.method, name) || !settingCalled(name).take(how, value)) {
      std::string all;
      for (const std::string &each : how.method->settings)
        all += std::string(all.empty() ? "" : "; ") + settingCalled(bare(each)).help;
      return Error{"'" + words[i] + "' is " + (isTwice ? "there twice" : "none of its settings") + ": " +
                   (all.empty() ? "it has none" : all)};
    }
    given.push_back(name);
  }
  for (const std::string &each : how.method->settings)
    if (isRequired(each) && std::find(given.begin(), given.end(), bare(each)) == given.end()) {
      std::string help = settingCalled(bare(each)).help;
      return Error{help.insert(help.find_first_of(" :"), " is missing")};
    }
  if (std::string why = whyContradicting(how); !why.empty())
    return Error{why};
  return how;
}

std::string methodsText() {
  std::string text = "Methods; U is what an adapter adds to a weight, w its own weight:\n";
  for (const Method &each : methods()) {
    std::string own;
    for (const std::string &setting : each.settings)
      own += (own.empty() ? " [" : ", ") + bare(setting);
    std::string name = each.name;
    name.resize(21, ' ');
    text += "  " + name + each.formula + (own.empty() ? "" : own + "]") + " (" + each.source + ")\n";
  }
  text += "\nSettings:\n";
  for (const Setting &each : settings)
    text += std::string("  ") + each.help + "\n";
  text += "\nWhat is made of whole updates is no product of thin factors: it is factorised (svd), and the "
          "relative error\n"
          "of that is printed. With rank=full nothing is cut. Methods of A and B apart, lego and fed_sb need "
          "factors;\n"
          "the others take adapters of any form with --model.";
  return text;
}

} // namespace adapter::diff
