// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Mixtures of LoRA experts: whether they fit a linear, and the ops that they are.
#ifndef ADAPTER_LIB_ATTACH_MIXTURES_H
#define ADAPTER_LIB_ATTACH_MIXTURES_H

#include "lib/Attach/FirstPass.h"
#include "lib/Attach/Plan.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"
#include <functional>
#include <map>

namespace adapter {

class NodeBuilder;

/// Why a mixture cannot act on a parameter; "" where it can.
std::string whyMixtureUnfit(const PlannedUpdate &planned, const ModuleParameter &parameter,
                            const ModuleTable &table);

/// Whether an update can act on a weight that a mixture acts on before it: W + B diag(g(x)) A is no weight that could
/// be replaced or rescaled.
bool actsBehindMixtures(const checkpoint::Update &update, const ModuleParameter &parameter);

/// The linear whose input the router of a mixture reads; null where the graph has none.
const ModuleParameter *findRouterInput(const checkpoint::Update &update, const ModuleParameter &parameter,
                                       const ModuleTable &table);

/// Whether routers of an adapter have to know the dimensions of values, of which exporters may say nothing.
bool needsRanks(const checkpoint::Adapter &adapter);

/// Whether mixtures with a first pass can act together with the others: a first pass knows one mixture.
checkpoint::Status checkFirstPasses(const AttachPlan &plan);

/// Puts mixtures into graphs, after all other updates: a router each, and in the place of each node that reads the
/// weight an adapter.linear.
class MixtureAttacher {
public:
  /// Makes what gates a mixture that comes after the build: 0, and 1 where it acts.
  using MakeGate = std::function<mlir::Value(const PlannedUpdate &update, mlir::OpBuilder &builder)>;
  explicit MixtureAttacher(MakeGate makeGate) : makeGate(std::move(makeGate)) {}

  /// Makes the first passes of adapters that have a classifier.
  void prepare(const AttachPlan &plan);
  void attach(const PlannedParameter &planned);
  /// Erases the nodes in whose place linears stand, and puts what was added in front of what reads it.
  void finish();

private:
  struct Choice {
    mlir::Value weights, ids; // no ids: weights of all experts
  };
  Choice makeRoute(NodeBuilder &b, mlir::Location loc, mlir::Value logits,
                   const checkpoint::Mixture &mixture);
  Choice choose(const PlannedUpdate &planned, const PlannedParameter &parameter, unsigned use);
  mlir::Value logitsOf(NodeBuilder &b, const PlannedUpdate &planned, mlir::Value input, int64_t opset);
  Choice classify(const LoadedAdapter &adapter, const ModuleTable &table, llvm::ArrayRef<MixedUse> uses);
  Choice classified(const PlannedUpdate &planned, const PlannedParameter &parameter, unsigned use);
  mlir::Value makeLinear(onnxir::NodeOp node, const PlannedParameter &planned, unsigned use,
                         llvm::ArrayRef<const PlannedUpdate *> mixtures, llvm::ArrayRef<Choice> choices);

  std::string pathOf(const PlannedUpdate &planned);
  mlir::Value gateOf(const PlannedUpdate &planned, const ModuleTable &table, mlir::Block *block);

  MakeGate makeGate;
  std::map<std::string, unsigned> paths; // how many builders have begun with each
  std::map<std::pair<const LoadedAdapter *, const ModuleTable *>, mlir::Value> gates;
  // By the router's input and tensors: modules may share a router.
  llvm::MapVector<std::pair<mlir::Value, const void *>, Choice> choices;
  // Of classifiers; the same with one dimension in front, where a node reads its input so.
  std::map<std::pair<const LoadedAdapter *, const ModuleTable *>, Choice> byPass, flat;
  std::vector<mlir::Operation *> replaced;
  llvm::SetVector<mlir::Block *> unsorted;
};

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_MIXTURES_H
