// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Mixtures of LoRA experts: whether they fit a linear, and the ops that they are.
#ifndef ADAPTER_LIB_ATTACH_MIXTURES_H
#define ADAPTER_LIB_ATTACH_MIXTURES_H

#include "lib/Attach/Plan.h"
#include "lib/Checkpoint/Mixture.h"
#include "llvm/ADT/MapVector.h"

namespace adapter {

class NodeBuilder;

/// Why a mixture cannot act on a parameter; "" where it can.
std::string whyMixtureUnfit(const PlannedUpdate &planned, const ModuleParameter &parameter,
                            const ModuleTable &table);

/// Whether an update can act on a weight that a mixture acts on before it: W + B diag(g(x)) A is no weight that could
/// be replaced or rescaled.
bool actsBehindMixtures(llvm::StringRef form);

/// Puts mixtures into graphs, after all other updates: a router each, and in the place of each node that reads the
/// weight an adapter.linear.
class MixtureAttacher {
public:
  void attach(const PlannedParameter &planned);
  /// Erases the nodes in whose place linears stand.
  void finish();

private:
  struct Choice {
    mlir::Value weights, ids; // no ids: weights of all experts
  };
  Choice choose(const PlannedUpdate &planned, const PlannedParameter &parameter, unsigned use);
  mlir::Value logitsOf(NodeBuilder &b, const PlannedUpdate &planned, mlir::Value input, int64_t opset);
  void replace(const PlannedParameter &planned, unsigned use, llvm::ArrayRef<const PlannedUpdate *> mixtures);

  // By the router's input and tensors: modules may share a router.
  llvm::MapVector<std::pair<mlir::Value, const void *>, Choice> choices;
  std::vector<mlir::Operation *> replaced;
};

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_MIXTURES_H
