// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a layer of experts is known by, in profiles and artifacts.
#ifndef ADAPTER_LIB_SUPPORT_EXPERTLAYERS_H
#define ADAPTER_LIB_SUPPORT_EXPERTLAYERS_H

#include "dialects/Adapter/IR/AdapterOps.h"
#include <optional>

namespace adapter {

struct ExpertLayer {
  std::string name;     ///< the path of their module; where that is not known the key of the first weights
  std::string identity; ///< a hash of the name, all sizes and the weights
  int64_t experts = 0;
  int64_t top = 0; ///< experts of a token; 0 where only the call knows
  int64_t inputWidth = 0, outputWidth = 0;
};

/// Nothing where the weights of the experts are no parameters with contents: then no profile can be of them.
std::optional<ExpertLayer> expertLayerOf(ExpertsOp op);

} // namespace adapter

#endif // ADAPTER_LIB_SUPPORT_EXPERTLAYERS_H
