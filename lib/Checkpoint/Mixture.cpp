// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The texts of mixtures, what contradicts in a route, and the rule of cost; see Mixture.h.
#include "lib/Checkpoint/Mixture.h"
#include "lib/Checkpoint/Json.h"
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <set>

namespace adapter::checkpoint {

static std::string numberText(double value) { return Json(value).dump(); }

std::string Route::whyWrong(int64_t logits) const {
  static const std::set<std::string> scores = {"none", "softmax", "sigmoid"},
                                     orders = {"score_first", "select_first"},
                                     selections = {"top", "argmax", "threshold", "top_p", "all"},
                                     normalises = {"none", "before", "after"},
                                     scopes = {"token", "sequence", "task"};
  if (!scores.count(score))
    return "score '" + score + "' is none of softmax, sigmoid and none";
  if (!orders.count(order))
    return "order '" + order + "' is neither score_first nor select_first";
  if (!selections.count(selection))
    return "selection '" + selection + "' is none of top, argmax, threshold, top_p and all";
  if (!normalises.count(normalise))
    return "normalise '" + normalise + "' is none of before, after and none";
  if (!scopes.count(scope))
    return "scope '" + scope + "' is none of token, sequence and task";
  bool selectFirst = order == "select_first";
  if (nullExperts < 0 || nullExperts >= logits)
    return std::to_string(nullExperts) + " null experts are not fewer than the router's " +
           std::to_string(logits) + " logits";
  if (sharedExperts < 0)
    return "there are " + std::to_string(sharedExperts) + " shared experts";
  if (isSparse() && (chosen() < 1 || chosen() > logits))
    return "it chooses " + std::to_string(chosen()) + " of " + std::to_string(logits) + " experts";
  if (!isSparse() && top)
    return "top is set, but selection is " + selection;
  if (normalise == "before" && selectFirst)
    return "normalise before contradicts order select_first";
  if (normalise != "none" && score == "none")
    return "normalise " + normalise + " divides logits by their sum, which may be zero; it needs a score";
  if (score == "softmax" && (normalise == "before" || (normalise == "after" && selectFirst && !nullExperts)))
    return "normalise " + normalise + " repeats what softmax does";
  if (score == "none" && selectFirst)
    return "order select_first needs a score";
  if (!(temperature > 0) || !std::isfinite(temperature))
    return "temperature is not above 0";
  if (temperature != 1 && score == "none")
    return "temperature needs a score";
  if (isLimited() && !std::isfinite(limit))
    return selection + " needs a number";
  if (selection == "all" && selectFirst)
    return "selection all contradicts order select_first";
  if (selection == "top_p" && !(limit >= 0 && limit <= 1))
    return "top_p is no share from 0 to 1";
  if (selection == "top_p" && (selectFirst || (score != "softmax" && normalise != "before")))
    return "top_p needs scores that add up to 1: score_first with softmax, or normalise before";
  return "";
}

std::string Route::text() const {
  std::string text = score + "+" + order + "+" + selection;
  if (selection == "top")
    text += std::to_string(top);
  if (isLimited())
    text += numberText(limit);
  text += "+normalise_" + normalise + "+" + scope;
  if (temperature != 1)
    text += "+temperature" + numberText(temperature);
  if (nullExperts)
    text += "+null" + std::to_string(nullExperts);
  if (sharedExperts)
    text += "+shared" + std::to_string(sharedExperts);
  return text;
}

std::string MixtureForm::text() const {
  std::string text = "mixture+" + route.text() + (classified ? "+classified" : "") + "+ranks";
  for (size_t i = 0; i < ranks.size(); ++i)
    text += (i ? "." : "") + std::to_string(ranks[i]);
  return text;
}

static std::vector<std::string> split(const std::string &text, char mark) {
  std::vector<std::string> words;
  for (size_t start = 0; start <= text.size();) {
    size_t end = std::min(text.find(mark, start), text.size());
    words.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return words;
}

// Takes `start` off a word.
static bool take(std::string &word, const std::string &start) {
  if (word.rfind(start, 0) != 0)
    return false;
  word.erase(0, start.size());
  return true;
}

static double toNumber(const std::string &text) {
  char *end = nullptr;
  double value = std::strtod(text.c_str(), &end);
  return text.empty() || *end ? std::numeric_limits<double>::quiet_NaN() : value;
}

// A parsed form is written again and compared, so that only what text() writes is one.
std::optional<MixtureForm> MixtureForm::parse(const std::string &text) {
  if (!isMixtureForm(text))
    return std::nullopt;
  // Numbers may hold "e+20".
  std::vector<std::string> words;
  for (const std::string &word : split(text, '+'))
    if (!words.empty() && !words.back().empty() && words.back().back() == 'e' && !word.empty() &&
        std::isdigit(static_cast<unsigned char>(word.front())))
      words.back() += "+" + word;
    else
      words.push_back(word);
  if (words.size() < 7)
    return std::nullopt;
  MixtureForm form;
  Route &route = form.route;
  route.score = words[1];
  route.order = words[2];
  std::string selection = words[3];
  if (take(selection, "top_p")) {
    route.selection = "top_p";
    route.limit = toNumber(selection);
  } else if (take(selection, "threshold")) {
    route.selection = "threshold";
    route.limit = toNumber(selection);
  } else if (take(selection, "top")) {
    route.selection = "top";
    route.top = std::atoll(selection.c_str());
  } else {
    route.selection = selection;
  }
  if (!take(words[4], "normalise_"))
    return std::nullopt;
  route.normalise = words[4];
  route.scope = words[5];
  for (size_t i = 6; i < words.size(); ++i) {
    std::string word = words[i];
    if (take(word, "temperature"))
      route.temperature = toNumber(word);
    else if (take(word, "null"))
      route.nullExperts = std::atoll(word.c_str());
    else if (take(word, "shared"))
      route.sharedExperts = std::atoll(word.c_str());
    else if (word == "classified")
      form.classified = true;
    else if (take(word, "ranks"))
      for (const std::string &rank : split(word, '.'))
        form.ranks.push_back(std::atoll(rank.c_str()));
  }
  int64_t logits = static_cast<int64_t>(form.ranks.size()) - route.sharedExperts + route.nullExperts;
  if (form.text() != text || !route.whyWrong(logits).empty())
    return std::nullopt;
  return form;
}

std::string MixtureCost::reason() const {
  std::string numbers = std::to_string(dense) + " multiply-adds for each position";
  if (!grouped)
    return "all ranks behind a mask, " + numbers + "; tokens are not sorted by expert";
  std::string other = std::to_string(grouped) + " with the chosen experts alone";
  return isGrouped() ? "the chosen experts alone, " + std::to_string(grouped) +
                           " multiply-adds for each position, " + std::to_string(dense) + " with all ranks"
                     : "all ranks behind a mask, " + numbers + ", " + other;
}

MixtureCost mixtureCost(const std::vector<int64_t> &ranks, int64_t chosen, int64_t in, int64_t out) {
  // Products have blocks of 32 columns, the rank's too. What is gathered is copied there and back, which costs about
  // as much as 16 ranks of products do.
  constexpr int64_t block = 32, copy = 16;
  auto whole = [](int64_t size) { return (size + block - 1) / block * block; };
  int64_t total = 0, highest = 0;
  for (int64_t rank : ranks) {
    total += rank;
    highest = std::max(highest, rank);
  }
  MixtureCost cost;
  cost.dense = whole(total) * in + total * out;
  if (chosen)
    cost.grouped = chosen * (whole(highest) * in + highest * out + copy * (in + out));
  return cost;
}

} // namespace adapter::checkpoint
