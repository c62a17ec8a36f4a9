// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Mixtures of LoRA experts as updates: for compiler and runtime.
//
//   y = W x + B diag(g) A x
//
// A [rank, in] and B [out, rank] are the experts' factors, one block behind the other, each B with its expert's scale
// in it; all ranks of a block have the gate that the router gives its expert. The router reads x, or the input of
// another module (Update::routerInput): logits = router x + router_bias; or, with scope task, it is `logits`.
#ifndef ADAPTER_LIB_CHECKPOINT_MIXTURE_H
#define ADAPTER_LIB_CHECKPOINT_MIXTURE_H

#include "lib/Checkpoint/Words.h"
#include <cstdint>
#include <string>
#include <vector>

namespace adapter::checkpoint {

// What a router does with its logits, in the words of adapter.route.
enum class RouteScore { None, Softmax, Sigmoid };
enum class RouteOrder { ScoreFirst, SelectFirst };
enum class RouteSelection { Top, Argmax, Threshold, TopP, All };
enum class RouteNormalise { None, Before, After };
enum class RouteScope { Token, Sequence, Task };
template <>
inline constexpr const char *wordsOf<RouteScore>[] = {"none", "softmax", "sigmoid"};
template <>
inline constexpr const char *wordsOf<RouteOrder>[] = {"score_first", "select_first"};
template <>
inline constexpr const char *wordsOf<RouteSelection>[] = {"top", "argmax", "threshold", "top_p", "all"};
template <>
inline constexpr const char *wordsOf<RouteNormalise>[] = {"none", "before", "after"};
template <>
inline constexpr const char *wordsOf<RouteScope>[] = {"token", "sequence", "task"};

struct Route {
  RouteScore score = RouteScore::Softmax;
  RouteOrder order = RouteOrder::ScoreFirst;
  RouteSelection selection = RouteSelection::Top;
  RouteNormalise normalise = RouteNormalise::None;
  RouteScope scope = RouteScope::Token;
  int64_t top = 0;
  double limit = 0; // of threshold and top_p
  double temperature = 1;
  int64_t nullExperts = 0, sharedExperts = 0;

  bool isLimited() const {
    return selection == RouteSelection::Threshold || selection == RouteSelection::TopP;
  }
  bool isSparse() const { return selection == RouteSelection::Top || selection == RouteSelection::Argmax; }
  int64_t chosen() const { return selection == RouteSelection::Argmax ? 1 : top; }
  // Why the fields contradict one another or do not fit a router of so many logits; "" where they do.
  std::string whyWrong(int64_t logits) const;
};

struct Mixture {
  Route route;
  bool classified = false;    // a classifier of the whole model gives the logits, see Adapter::classifier
  std::vector<int64_t> ranks; // of all experts, shared ones first; 0: none in this module

  // For reports and messages: "mixture+softmax+score_first+top2+normalise_after+token+ranks8.8.4".
  std::string text() const;
};

// What a mixture costs for each position, in multiply-adds, two ways: all ranks behind a mask, or the chosen experts
// alone, each padded to the highest rank and gathered apart.
struct MixtureCost {
  int64_t dense = 0, grouped = 0;
  bool isGrouped() const { return grouped && grouped < dense; }
  std::string reason() const;
};
// `chosen`: how many experts a position has at most; 0: any number, so that grouping is out of the question.
MixtureCost mixtureCost(const std::vector<int64_t> &ranks, int64_t chosen, int64_t in, int64_t out);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_MIXTURE_H
