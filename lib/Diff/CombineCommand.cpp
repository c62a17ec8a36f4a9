// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The command line of adapter-opt combine.
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Text.h"
#include "lib/Diff/Combine.h"
#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <exception>
#include <optional>

namespace adapter::diff {

using checkpoint::Error;
using checkpoint::Result;

static constexpr int inputFault = 1, wrongUsage = 2;

static int fail(int code, const std::string &message) {
  std::fprintf(stderr, "adapter-opt: error: %s\n", checkpoint::printable(message).c_str());
  return code;
}

// Without settings, by PEFT's names.
static std::vector<Combination> methods() {
  using Prune = Combination::Prune;
  std::vector<Combination> all = {{"cat", true}, {"sum", true}, {"linear", false, true}, {"svd"}};
  const struct {
    const char *name;
    Prune prune;
    bool elects;
  } pruning[] = {{"magnitude_prune", Prune::Magnitude, false},
                 {"ties", Prune::Magnitude, true},
                 {"dare_linear", Prune::Random, false},
                 {"dare_ties", Prune::Random, true}};
  for (const auto &each : pruning)
    for (bool onFactors : {true, false})
      all.push_back(
          {each.name + std::string(onFactors ? "" : "_svd"), false, onFactors, each.prune, each.elects});
  return all;
}

Result<Combination> parseCombination(const std::string &text) {
  std::vector<std::string> parts = CLI::detail::split(text, ',');
  std::string names;
  std::optional<Combination> found;
  for (Combination &each : methods()) {
    names += (names.empty() ? "" : ", ") + each.name;
    if (each.name == parts[0])
      found = each;
  }
  if (!found)
    return Error{"there is no method '" + parts[0] + "'; there are " + names};
  bool prunes = found->prune != Combination::Prune::None,
       isRandom = found->prune == Combination::Prune::Random;
  bool isFactorised = !found->onFactors && !found->keepsAll, hasDensity = false;
  for (size_t i = 1; i < parts.size(); ++i) {
    size_t equals = parts[i].find('=');
    std::string name = parts[i].substr(0, equals),
                value = equals == std::string::npos ? "" : parts[i].substr(equals + 1);
    if (prunes && name == "density" && CLI::detail::lexical_cast(value, found->density) &&
        found->density > 0 && found->density <= 1)
      hasDensity = true;
    else if (isFactorised && name == "rank" && CLI::detail::lexical_cast(value, found->rank) &&
             found->rank > 0)
      continue;
    else if (found->elects && name == "sign" && (value == "total" || value == "frequency"))
      found->countsSigns = value == "frequency";
    else if (isRandom && name == "seed" && CLI::detail::lexical_cast(value, found->seed))
      continue;
    else
      return Error{"'" + parts[i] +
                   "' is none of its settings:" + (prunes ? " density=D (above 0, up to 1)" : "") +
                   (isFactorised ? " rank=R" : "") + (found->elects ? " sign=total|frequency" : "") +
                   (isRandom ? " seed=N" : "") + (prunes || isFactorised ? "" : " it has none")};
  }
  if (prunes && !hasDensity)
    return Error{"density=D is missing: the share of elements that are kept"};
  return *found;
}

// PATH or PATH:WEIGHT.
static Result<Part> parsePart(const std::string &text) {
  Part part{text, 1.0};
  size_t colon = text.rfind(':');
  if (colon == std::string::npos)
    return part;
  if (!CLI::detail::lexical_cast(text.substr(colon + 1), part.weight) || !std::isfinite(part.weight))
    return Error{text + ": '" + text.substr(colon + 1) + "' is not a weight; expected PATH or PATH:WEIGHT"};
  part.path = text.substr(0, colon);
  return part;
}

int combineCommand(int argc, char **argv) {
  CLI::App app{
      "Makes one LoRA of several, at the same modules or at others.\n\n"
      "  sum, cat         the weighted sum of what they do, exactly; its rank is the sum of the ranks\n"
      "  svd              that sum by its strongest directions: rank=R, else the largest of the ranks\n"
      "  linear           factors are averaged, A and B apart, which is not the sum (PEFT's default)\n"
      "  magnitude_prune, ties, dare_linear, dare_ties\n"
      "                   on factors, as PEFT has them; density=D, sign=total|frequency, seed=N\n"
      "  .._svd           the same on the products, by their strongest directions; rank=R",
      "adapter-opt combine"};
  std::string method, folder;
  std::vector<std::string> texts;
  app.add_option("method", method, "METHOD[,density=D][,rank=R][,sign=total|frequency][,seed=N]")->required();
  app.add_option("adapters", texts, "PATH or PATH:WEIGHT each (weight 1)")->required();
  app.add_option("-o", folder, "The adapter's folder, which must not exist or be empty")->required();
  try {
    app.parse(argc - 1, argv + 1);
  } catch (const CLI::ParseError &error) {
    return error.get_exit_code() == 0
               ? app.exit(error)
               : fail(wrongUsage, std::string(error.what()) + "; try adapter-opt combine --help");
  }
  Result<Combination> how = parseCombination(method);
  if (!how)
    return fail(wrongUsage, method + ": " + how.error().message);
  std::vector<Part> parts;
  for (const std::string &text : texts) {
    Result<Part> part = parsePart(text);
    if (!part)
      return fail(wrongUsage, part.error().message);
    parts.push_back(*part);
  }
  try {
    Result<Combined> made = combine(*how, parts, folder);
    if (!made)
      return fail(inputFault, made.error().message);
    std::printf("%s: %lld modules of %zu adapters, ranks up to %lld\n", folder.c_str(),
                static_cast<long long>(made->modules), parts.size(), static_cast<long long>(made->rank));
    checkpoint::Status flushed = checkpoint::flushStandardOutput();
    return flushed ? 0 : fail(inputFault, flushed.error().message);
  } catch (const std::exception &exception) {
    return fail(inputFault, exception.what());
  }
}

} // namespace adapter::diff
