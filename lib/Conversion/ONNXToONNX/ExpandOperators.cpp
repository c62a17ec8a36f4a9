// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-expand-operators and adapter-expand-attention: operators that stand for several of ONNX's, by a table from
// operators to functions. Nodes are taken in the graph's order, so that each function sees the types of what the ones
// before it have made.
#include "lib/Conversion/ONNXToONNX/Expansion.h"
#include "lib/Conversion/Passes.h"
#include "lib/Support/ONNX/Types.h"

namespace adapter {
#define GEN_PASS_DEF_EXPANDOPERATORSPASS
#define GEN_PASS_DEF_EXPANDATTENTIONPASS
#include "lib/Conversion/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

// Results that nobody reads need no value; for others there must be one.
static LogicalResult replaceResults(onnxir::NodeOp node, ArrayRef<Value> values) {
  for (auto [i, result] : llvm::enumerate(node.getResults())) {
    Value value = i < values.size() ? values[i] : Value();
    if (result.use_empty())
      continue;
    if (!value)
      return node.emitError() << describe(node) << ": result " << node.getResultNames()[i]
                              << " is used, but not supported in compiled code";
    // What is handed on as it is may be a value that others read under a type of its own.
    if (value.getDefiningOp<onnxir::NodeOp>())
      value.setType(onnxproto::combineTypes(result.getType(), value.getType()));
    result.replaceAllUsesWith(value);
  }
  node.erase();
  return success();
}

static FailureOr<unsigned> expandAll(Operation *root, const ExpansionTable &table, bool sessions = false) {
  SmallVector<std::pair<onnxir::NodeOp, ExpandNode>> found;
  root->walk([&](onnxir::GraphOp graph) {
    for (auto node : graph.getBody().getOps<onnxir::NodeOp>()) {
      StringRef domain = isOnnxDomain(node.getDomain()) ? StringRef() : node.getDomain();
      if (ExpandNode expand = table.lookup((domain + "::" + node.getOpType()).str()))
        found.emplace_back(node, expand);
    }
  });
  for (auto [node, expand] : found) {
    Expansion expansion(node);
    expansion.sessions = sessions;
    Expanded values = expand(expansion);
    if (failed(values) || failed(replaceResults(node, *values)))
      return failure();
  }
  return found.size();
}

static const ExpansionTable &operatorTable() {
  static const ExpansionTable table = [] {
    ExpansionTable made;
    addActivationExpansions(made);
    addNormExpansions(made);
    addProductExpansions(made);
    addRotaryExpansions(made);
    addMultiHeadExpansions(made);
    addGroupQueryExpansions(made);
    return made;
  }();
  return table;
}

static const ExpansionTable &attentionTable() {
  static const ExpansionTable table{{"::Attention", expandAttentionNode}};
  return table;
}

namespace {
struct ExpandOperatorsPass final : adapter::impl::ExpandOperatorsPassBase<ExpandOperatorsPass> {
  using Base::Base;
  void runOnOperation() override {
    FailureOr<unsigned> count = expandAll(getOperation(), operatorTable(), sessions);
    if (failed(count))
      return signalPassFailure();
    numExpanded += *count;
  }
};

struct ExpandAttentionPass final : adapter::impl::ExpandAttentionPassBase<ExpandAttentionPass> {
  using Base::Base;
  void runOnOperation() override {
    FailureOr<unsigned> count = expandAll(getOperation(), attentionTable());
    if (failed(count))
      return signalPassFailure();
    numExpanded += *count;
  }
};
} // namespace
