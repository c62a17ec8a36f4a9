// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What contradicts in a route, the text of a mixture, and the rule of cost; see Mixture.h.
#include "lib/Checkpoint/Mixture.h"
#include "lib/Checkpoint/Json.h"
#include <algorithm>
#include <cmath>

namespace adapter::checkpoint {

static std::string numberText(double value) { return Json(value).dump(); }

std::string Route::whyWrong(int64_t logits) const {
  bool selectFirst = order == RouteOrder::SelectFirst;
  if (nullExperts < 0 || nullExperts >= logits)
    return std::to_string(nullExperts) + " null experts are not fewer than the router's " +
           std::to_string(logits) + " logits";
  if (sharedExperts < 0)
    return "there are " + std::to_string(sharedExperts) + " shared experts";
  if (isSparse() && (chosen() < 1 || chosen() > logits))
    return "it chooses " + std::to_string(chosen()) + " of " + std::to_string(logits) + " experts";
  if (!isSparse() && top)
    return "top is set, but selection is " + std::string(word(selection));
  if (normalise == RouteNormalise::Before && selectFirst)
    return "normalise before contradicts order select_first";
  if (normalise != RouteNormalise::None && score == RouteScore::None)
    return "normalise " + std::string(word(normalise)) +
           " divides logits by their sum, which may be zero; it needs a score";
  if (score == RouteScore::Softmax && (normalise == RouteNormalise::Before ||
                                       (normalise == RouteNormalise::After && selectFirst && !nullExperts)))
    return "normalise " + std::string(word(normalise)) + " repeats what softmax does";
  if (score == RouteScore::None && selectFirst)
    return "order select_first needs a score";
  if (!(temperature > 0) || !std::isfinite(temperature))
    return "temperature is not above 0";
  if (temperature != 1 && score == RouteScore::None)
    return "temperature needs a score";
  if (isLimited() && !std::isfinite(limit))
    return std::string(word(selection)) + " needs a number";
  if (selection == RouteSelection::All && selectFirst)
    return "selection all contradicts order select_first";
  if (selection == RouteSelection::TopP && !(limit >= 0 && limit <= 1))
    return "top_p is no share from 0 to 1";
  if (selection == RouteSelection::TopP &&
      (selectFirst || (score != RouteScore::Softmax && normalise != RouteNormalise::Before)))
    return "top_p needs scores that add up to 1: score_first with softmax, or normalise before";
  return "";
}

std::string Mixture::text() const {
  std::string text =
      std::string("mixture+") + word(route.score) + "+" + word(route.order) + "+" + word(route.selection);
  if (route.selection == RouteSelection::Top)
    text += std::to_string(route.top);
  if (route.isLimited())
    text += numberText(route.limit);
  text += std::string("+normalise_") + word(route.normalise) + "+" + word(route.scope);
  if (route.temperature != 1)
    text += "+temperature" + numberText(route.temperature);
  if (route.nullExperts)
    text += "+null" + std::to_string(route.nullExperts);
  if (route.sharedExperts)
    text += "+shared" + std::to_string(route.sharedExperts);
  text += std::string(classified ? "+classified" : "") + "+ranks";
  for (size_t i = 0; i < ranks.size(); ++i)
    text += (i ? "." : "") + std::to_string(ranks[i]);
  return text;
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
