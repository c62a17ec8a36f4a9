// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Bottleneck adapters as updates, for compiler and runtime.
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

#include "lib/Checkpoint/Activation.h"
#include <string>
#include <tuple>
#include <vector>

namespace adapter::checkpoint {

// Where a module stands. Houlsby's and Pfeiffer's adapters read the sub-layer's output and are added to it, parallel
// ones read the residual stream.
struct ModulePlacement {
  enum class Value { Sublayer, Residual, Sum, Norm, Nothing }; // h, t, s, n
  Value input = Value::Sublayer, onto = Value::Sublayer;
  bool final = false;

  // A name of the place, in an Update's `parameter` and a site's: "sublayer_onto_sublayer", "sum_onto_sum_final".
  std::string name() const;
};

// What a module computes.
struct Bottleneck {
  Activation activation = Activation::Identity;
  bool normBefore = false, normAfter = false, residualFirst = false, gate = false, channel = false;
  double epsilon = 1e-5; // of the norms

  // The tensors, in the order in which compiled functions take them.
  std::vector<std::string> roles() const;
  // For reports and messages: "bottleneck+relu+norm_before".
  std::string text() const;

  auto key() const {
    return std::tuple(activation, normBefore, normAfter, residualFirst, gate, channel, epsilon);
  }
  bool operator==(const Bottleneck &other) const { return key() == other.key(); }
  bool operator<(const Bottleneck &other) const { return key() < other.key(); }
};

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_BOTTLENECK_H
