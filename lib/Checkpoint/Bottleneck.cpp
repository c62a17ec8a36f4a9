// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Names and tensors of bottlenecks; see Bottleneck.h.
#include "lib/Checkpoint/Bottleneck.h"

namespace adapter::checkpoint {

static const char *const valueNames[] = {"sublayer", "residual", "sum", "norm", "nothing"};

std::string ModulePlacement::name() const {
  return std::string(valueNames[static_cast<int>(input)]) + "_onto_" + valueNames[static_cast<int>(onto)] +
         (final ? "_final" : "");
}

std::string Bottleneck::text() const {
  std::string text = std::string("bottleneck+") + word(activation);
  // The two epsilons that checkpoints have.
  std::string end = epsilon == 1e-6 ? "_1e-6" : "";
  if (normBefore)
    text += "+norm_before" + end;
  if (normAfter)
    text += "+norm_after" + end;
  if (residualFirst)
    text += "+residual_first";
  if (gate)
    text += "+gate";
  if (channel)
    text += "+channel";
  return text;
}

std::vector<std::string> Bottleneck::roles() const {
  std::vector<std::string> roles = {"down", "down_bias", "up", "up_bias"};
  if (channel)
    roles.push_back("channel");
  if (normBefore)
    roles.insert(roles.end(), {"norm_before", "norm_before_bias"});
  if (normAfter)
    roles.insert(roles.end(), {"norm_after", "norm_after_bias"});
  if (gate)
    roles.insert(roles.end(), {"gate", "gate_bias"});
  return roles;
}

} // namespace adapter::checkpoint
