// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A LoRA of one module as files without a configuration hold it: factors, and how to scale them beside them.
#ifndef ADAPTER_LIB_CHECKPOINT_LOWRANK_H
#define ADAPTER_LIB_CHECKPOINT_LOWRANK_H

#include "lib/Checkpoint/Adapter.h"
#include <map>
#include <string>

namespace adapter::checkpoint {

//   down [r, in] or [r, in, k...], up [out, r] or [out, r, 1...]   W += scale * up down
//   mid [r, r, k...], with down [r, in, 1...]                      W += scale * up (mid down)
//   alpha, one number                                              scale = alpha / r; without it 1
//   magnitude [out, 1...]                                          DoRA's
struct LowRank {
  const Tensor *down = nullptr, *up = nullptr, *mid = nullptr, *alpha = nullptr, *magnitude = nullptr;
  const Tensor &any() const { return *(down ? down : up ? up : mid ? mid : alpha ? alpha : magnitude); }
};

// The update of a module's weight that they are; what does not fit is an error that names the tensor.
Result<Update> lowRankUpdate(const std::string &file, const std::string &module, const LowRank &parts);

// The same of factors that are multiplied from the right, down [in, r] and up [r, out].
Result<Update> transposedLowRankUpdate(const std::string &file, const std::string &module, LowRank parts);

// An update that replaces the parameter of a module that a tensor is called after: "layers.0.norm.weight".
Result<Update> replacement(const std::string &file, const Tensor &tensor);

// The only element of a tensor of floats or integers.
Result<double> numberOf(const Tensor &tensor);

// A matrix [columns, rows] of a matrix [rows, columns], in its own type.
Tensor transposedMatrix(const Tensor &matrix);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_LOWRANK_H
