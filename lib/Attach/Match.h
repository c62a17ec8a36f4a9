// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// From the module that a checkpoint names to the graph's.
#ifndef ADAPTER_LIB_ATTACH_MATCH_H
#define ADAPTER_LIB_ATTACH_MATCH_H

#include "lib/Attach/ModuleTable.h"

namespace adapter {

/// What the graph has for one parameter of a checkpoint.
struct Match {
  std::vector<ModuleParameter *> found; ///< tensors of one module's parameter
  ModuleParameter *biasless = nullptr;  ///< instead: the weight that a missing bias belongs to
  std::vector<std::string> ambiguous;   ///< instead: the modules that all could be meant

  bool none() const { return found.empty() && !biasless && ambiguous.empty(); }
};

/// Equal paths count first, then a path of the graph that ends with the checkpoint's (wrapped models), then
/// the longest that is the end of the checkpoint's (parts of models).
Match matchModule(const ModuleTable &table, const std::string &module, const std::string &parameter);

/// Embeddings whose tensor is called as the module is, whichever modules read it: T5's `shared` is the table of its
/// stacks' `embed_tokens`.
std::vector<ModuleParameter *> embeddingsCalled(const ModuleTable &table, const std::string &module);

/// Paths of the graph that look most like `module`, the best first.
std::vector<std::string> nearestModules(const ModuleTable &table, const std::string &module);

/// Whether the graph has the module at all, whatever its parameters.
std::vector<std::string> parametersOf(const ModuleTable &table, const std::string &module);

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_MATCH_H
