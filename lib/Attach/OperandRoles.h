// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What an operand of an operator is to its module, and what the names of tensors say.
#ifndef ADAPTER_LIB_ATTACH_OPERANDROLES_H
#define ADAPTER_LIB_ATTACH_OPERANDROLES_H

#include "dialects/Adapter/IR/AdapterOps.h"
#include "dialects/ONNX/IR/ONNXOps.h"
#include <optional>
#include <string>

namespace adapter {

struct Role {
  SiteKind kind;
  const char *parameter;   ///< its usual name
  bool transposed = false; ///< the operand is [in, out]
  /// Whether the operator alone says so. What an Add or a Mul reads may be anything.
  bool isStructural = true;
};

/// Nothing where an operator's operand is no parameter of a known kind.
std::optional<Role> roleOf(onnxir::NodeOp node, unsigned operand);

/// Whether operators of a domain are known here: ONNX's own and ONNX Runtime's.
bool isKnownDomain(onnxir::NodeOp node);

/// Whether a node multiplies its input by a weight.
bool isProduct(onnxir::NodeOp node);

/// An integer attribute of a node.
int64_t integerAttr(onnxir::NodeOp node, llvm::StringRef name, int64_t otherwise);

/// What the name of a tensor says of it: module and parameter; empty where it has no module.
struct TensorName {
  std::string module, parameter;
  bool isBuilders = false; ///< a graph builder's: "layers.0.attn.q_proj.MatMul.weight", which is [in, out]
};
TensorName splitName(llvm::StringRef key);

/// Whether an optimiser computed a tensor from the parameter and something else, by the name that it gives such
/// tensors.
bool isFoldedName(llvm::StringRef key);

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_OPERANDROLES_H
