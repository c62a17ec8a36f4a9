// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where a transformer's sub-layers meet its residual stream: the places of modules that act on activations.
#ifndef ADAPTER_LIB_ATTACH_RESIDUALSUMS_H
#define ADAPTER_LIB_ATTACH_RESIDUALSUMS_H

#include "dialects/ONNX/IR/ONNXOps.h"
#include "lib/Checkpoint/Result.h"
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace adapter {

/// s = h + t in the graph; see lib/Checkpoint/Bottleneck.h for the letters.
struct ResidualSum {
  onnxir::NodeOp sum;
  unsigned sublayerOperand = 0; ///< which of the sum's operands is h
  onnxir::NodeOp norm;          ///< what alone reads the sum in post-norm models, else null
  bool normUnknown = false;     ///< there is a norm, but spelled out in several nodes
  std::string module;           ///< its path in the graph
  mlir::Value result;           ///< what the rest of the graph reads: n, or s where there is no norm
  int64_t width = 0;

  mlir::Value sublayer() const { return const_cast<onnxir::NodeOp &>(sum)->getOperand(sublayerOperand); }
  mlir::Value residual() const { return const_cast<onnxir::NodeOp &>(sum)->getOperand(1 - sublayerOperand); }
  onnxir::ModelOp model() const;
  std::string nodeName() const;
};

/// The sums of one model, found when they are asked for.
class ResidualSums {
public:
  explicit ResidualSums(onnxir::ModelOp model);

  /// The sum that a checkpoint's location names, of values `width` wide. Null where the graph has no such module; an
  /// error where it has, but no sum of the kind in it, or several modules could be meant.
  checkpoint::Result<ResidualSum *> find(const std::string &location, int64_t width);

  onnxir::ModelOp getModel() const { return model; }

private:
  std::vector<onnxir::NodeOp> sumsIn(const std::string &module, int64_t width) const;
  void findNorm(ResidualSum &sum, const std::string &module) const;

  onnxir::ModelOp model;
  std::map<std::string, std::vector<onnxir::NodeOp>> additions; ///< by path of the node, in order
  std::vector<std::string> modules;                             ///< all paths, those of enclosing modules too
  std::map<mlir::Operation *, std::unique_ptr<ResidualSum>> found;
};

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_RESIDUALSUMS_H
