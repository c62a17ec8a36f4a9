// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Makes onnx.node ops for what adapters add to a graph.
#ifndef ADAPTER_LIB_SUPPORT_ONNX_NODEBUILDER_H
#define ADAPTER_LIB_SUPPORT_ONNX_NODEBUILDER_H

#include "dialects/Adapter/IR/AdapterOps.h"
#include "dialects/ONNX/IR/ONNXOps.h"
#include "lib/Checkpoint/Activation.h"
#include "lib/Checkpoint/Tensor.h"
#include "llvm/ADT/StringMap.h"

namespace adapter {

/// Element type of a value of a graph; f32 where the model does not say.
mlir::Type elementTypeOf(mlir::Value value);
/// Size of a value's last dimension, dynamic where the model does not say.
int64_t widthOf(mlir::Value value);
/// A type with another size of the last dimension, as far as it is known.
mlir::Type withWidth(mlir::Type type, int64_t width);

/// The type of a value of another element type whose last dimension has another size, as far as `like` says.
mlir::Type typeLike(mlir::Value like, int64_t width, mlir::Type element);

class NodeBuilder {
public:
  /// Names of nodes begin with `name`, which no other builder has, names of parameters are keys of `scope`.
  NodeBuilder(mlir::OpBuilder &builder, mlir::Location loc, std::string name, std::string scope)
      : builder(builder), loc(loc), name(std::move(name)), scope(std::move(scope)) {}

  mlir::Value node(llvm::StringRef operation, mlir::ValueRange inputs, mlir::Type type,
                   llvm::ArrayRef<mlir::NamedAttribute> attributes = {});
  /// A node with several results.
  mlir::ResultRange nodes(llvm::StringRef operation, mlir::ValueRange inputs, mlir::TypeRange types,
                          llvm::ArrayRef<mlir::NamedAttribute> attributes = {});
  /// The same of the type of the first input.
  mlir::Value node(llvm::StringRef operation, mlir::ValueRange inputs) {
    return node(operation, inputs, inputs.front().getType());
  }
  /// A tensor of the archive `scope`.
  mlir::Value parameter(llvm::StringRef key, checkpoint::Tensor tensor);
  /// A number of the element type of `like`, to be broadcast; f32 and f16 have one.
  mlir::Value constant(double value, mlir::Value like);
  mlir::Value integers(llvm::ArrayRef<int64_t> values);
  /// One without dimensions.
  mlir::Value integer(int64_t value);
  /// [n, m] of [m, n]; of a parameter with contents at once, and the parameter goes if nothing else reads it; else a
  /// node.
  mlir::Value transposed(mlir::Value matrix);

  mlir::Value times(mlir::Value x, double factor);
  mlir::Value activation(checkpoint::Activation function, mlir::Value x);
  /// Over the last dimension.
  mlir::Value layerNorm(mlir::Value x, mlir::Value weight, mlir::Value bias, double epsilon);
  /// x times a matrix [in, out].
  mlir::Value product(mlir::Value x, mlir::Value matrix);
  /// Over dimension 1, which stays with size 1.
  mlir::Value tokenMean(mlir::Value x, int64_t opset);

  mlir::OpBuilder &builder;
  /// The operator set of the nodes, where that is not the model's; see dialects/ONNX/IR/NodeVersion.h.
  std::optional<int64_t> version;

private:
  mlir::Value integers(std::string key, llvm::ArrayRef<int64_t> values, llvm::ArrayRef<int64_t> shape);

  mlir::Location loc;
  std::string name, scope;
  llvm::StringMap<unsigned> counts;
};

} // namespace adapter

#endif // ADAPTER_LIB_SUPPORT_ONNX_NODEBUILDER_H
