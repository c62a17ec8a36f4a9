// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Mixtures of LoRA experts as updates: what is said in an Update's `form`, for compiler and runtime.
//
//   y = W x + B diag(g) A x
//
// A [rank, in] and B [out, rank] are the experts' factors, one block behind the other, each B with its expert's scale
// in it; all ranks of a block have the gate that the router gives its expert. The router reads x, or the input of
// another module (Update::routerInput): logits = router x + router_bias; or, with scope task, it is `logits`.
#ifndef ADAPTER_LIB_CHECKPOINT_MIXTURE_H
#define ADAPTER_LIB_CHECKPOINT_MIXTURE_H

#include "lib/Checkpoint/Adapter.h"
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace adapter::checkpoint {

// What a router does with its logits, in the words of adapter.route; as text
//
//   <score>+<order>+<selection>+normalise_<when>+<scope>
//
// and "+temperature<t>", "+null<n>" and "+shared<n>" in this order where they are not 1, 0 and 0. Selections are
// "top<k>", "argmax", "threshold<t>", "top_p<p>" and "all".
struct Route {
  std::string score = "softmax", order = "score_first", selection = "top", normalise = "none",
              scope = "token";
  int64_t top = 0;
  double limit = 0; // of threshold and top_p
  double temperature = 1;
  int64_t nullExperts = 0, sharedExperts = 0;

  bool isLimited() const { return selection == "threshold" || selection == "top_p"; }
  bool isSparse() const { return selection == "top" || selection == "argmax"; }
  int64_t chosen() const { return selection == "argmax" ? 1 : top; }
  // Why the words contradict one another or do not fit a router of so many logits; "" where they do.
  std::string whyWrong(int64_t logits) const;
  std::string text() const;
};

// As text "mixture+" and the route's, then "+classified" where a classifier of the whole model gives the logits
// (see Adapter::classifier), and the experts' ranks, "+ranks8.8.4".
struct MixtureForm {
  Route route;
  bool classified = false;
  std::vector<int64_t> ranks; // of all experts, shared ones first; 0: none in this module

  std::string text() const;
  static std::optional<MixtureForm> parse(const std::string &text);
};

inline bool isMixtureForm(const std::string &form) { return form.rfind("mixture+", 0) == 0; }

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
