// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Bottleneck adapters as updates: what is said in an Update's `form` and `parameter`, for compiler and runtime.
//
// A sub-layer's output h meets the residual stream t in a sum s = h + t, behind which there may be a norm, n. The
// adapter reads x, one of them, and computes
//
//   f(x) = gate(x) * scale * (up act(down norm_before(x) + down_bias) + up_bias)
//   o = norm_after(f(x)) + r, or norm_after(f(x) + r) with residual_first
//
// for r one of them or nothing. o takes the place of h; or, where the placement is final, that of n.
#ifndef ADAPTER_LIB_CHECKPOINT_BOTTLENECK_H
#define ADAPTER_LIB_CHECKPOINT_BOTTLENECK_H

#include "lib/Checkpoint/Adapter.h"
#include <optional>
#include <string>
#include <vector>

namespace adapter::checkpoint {

// Where a module stands; as text "<x>_onto_<r>" or "<x>_onto_<r>_final", of the words below. Houlsby's and
// Pfeiffer's adapters are sublayer_onto_sublayer, parallel ones residual_onto_sublayer.
struct ModulePlacement {
  enum class Value { Sublayer, Residual, Sum, Norm, Nothing }; // h, t, s, n
  Value input = Value::Sublayer, onto = Value::Sublayer;
  bool final = false;

  std::string text() const;
  static std::optional<ModulePlacement> parse(const std::string &text);
};

// What a module computes; as text "bottleneck+<activation>" and "+norm_before", "+norm_after", "+residual_first",
// "+gate" and "+channel" in this order, norms with "_1e-6" behind where that is their epsilon and not 1e-5; at the
// end "+<mode><count>" where `up` is mixed of that many (see Adapter.h).
struct BottleneckForm {
  std::string activation; // one of activations()
  bool normBefore = false, normAfter = false, residualFirst = false, gate = false, channel = false;
  double epsilon = 1e-5;
  std::string mode; // of mixtures: sum, mean or select
  int modules = 0;  // 0: none

  std::string text() const;
  static std::optional<BottleneckForm> parse(const std::string &text);
  // The tensors, in the order in which compiled functions take them.
  std::vector<std::string> roles() const;

  static const std::vector<std::string> &activations();
};

inline bool isModuleForm(const std::string &form) { return form.rfind("bottleneck+", 0) == 0; }

// The mixture that a form ends in, "+mean4" say, is taken off; its mode and count, or nothing.
std::optional<MaskedMix> takeMixture(std::string &form);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_BOTTLENECK_H
