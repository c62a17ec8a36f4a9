// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Functions of one number between the products of bottlenecks and experts. Their formulas stand in
// lib/Support/Activations.h.
#ifndef ADAPTER_LIB_CHECKPOINT_ACTIVATION_H
#define ADAPTER_LIB_CHECKPOINT_ACTIVATION_H

#include "lib/Checkpoint/Words.h"

namespace adapter::checkpoint {

enum class Activation {
  Identity,
  Relu,
  LeakyRelu,
  Relu2,
  Relu6,
  Gelu,
  GeluTanh,
  Gelu10,
  Silu,
  QuickGelu,
  Mish,
  Sigmoid,
  Tanh,
  Laplace
};
template <>
inline constexpr const char *wordsOf<Activation>[] = {
    "identity", "relu", "leaky_relu", "relu2", "relu6",   "gelu", "gelu_tanh",
    "gelu_10",  "silu", "quick_gelu", "mish",  "sigmoid", "tanh", "laplace"};

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_ACTIVATION_H
