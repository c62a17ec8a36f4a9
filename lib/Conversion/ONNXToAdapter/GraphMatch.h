// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Questions about ONNX nodes that patterns over several of them ask.
#ifndef ADAPTER_LIB_CONVERSION_ONNXTOADAPTER_GRAPHMATCH_H
#define ADAPTER_LIB_CONVERSION_ONNXTOADAPTER_GRAPHMATCH_H

#include "dialects/Adapter/IR/AdapterOps.h"
#include "dialects/ONNX/IR/ONNXOps.h"
#include <optional>

namespace adapter {

/// `value` before nodes that hand it on as it is: Identity, Cast to the type that it has.
mlir::Value before(mlir::Value value);
/// The node of ONNX's own operator `type` that makes `value`; null if another does.
onnxir::NodeOp madeBy(mlir::Value value, llvm::StringRef type);
/// A node's input, as `before` sees it; null where it has none.
mlir::Value inputOf(onnxir::NodeOp node, unsigned index);
int64_t attributeOf(onnxir::NodeOp node, llvm::StringRef name, int64_t fallback);
/// The type of a value that is a tensor of known rank; null otherwise.
mlir::RankedTensorType tensorOf(mlir::Value value);
bool hasRank(mlir::Value value, int64_t rank);

/// The argument of a function that experts may have between their products, and which it is; null where `value` is
/// made by none.
mlir::Value matchActivation(mlir::Value value, checkpoint::Activation &activation);

/// The elements of a tensor of integers, those that are known: constants, and what is computed from them
/// and from static sizes. Nothing where not even their number is known.
std::optional<llvm::SmallVector<std::optional<int64_t>>> integersOf(mlir::Value value);
/// All elements; nothing where one is not known.
std::optional<llvm::SmallVector<int64_t>> constantsOf(mlir::Value value);
/// The number that a tensor of one element holds, as far as it is known: a constant, or what scalar operators make of
/// constants and of static sizes.
std::optional<double> scalarOf(mlir::Value value);
/// The axes of a node that has them as an input or, in old versions, as an attribute.
std::optional<llvm::SmallVector<int64_t>> axesOf(onnxir::NodeOp node);
/// Whether the axes of the node are one, which is `axis` of `rank`.
bool hasAxis(onnxir::NodeOp node, int64_t axis, int64_t rank);
/// Whether nodes of the operators `types` and those that read its shape are all that reads `value`.
bool isReadBy(mlir::Value value, llvm::ArrayRef<llvm::StringRef> types);
/// Erases nodes that nothing reads.
void eraseDeadNodes(mlir::Block &block);

} // namespace adapter

#endif // ADAPTER_LIB_CONVERSION_ONNXTOADAPTER_GRAPHMATCH_H
