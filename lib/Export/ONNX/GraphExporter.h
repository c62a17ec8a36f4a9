// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// onnx.model as a ModelProto, with or without the contents of its tensors.
#ifndef ADAPTER_LIB_EXPORT_ONNX_GRAPHEXPORTER_H
#define ADAPTER_LIB_EXPORT_ONNX_GRAPHEXPORTER_H

#include "dialects/Adapter/IR/AdapterOps.h"
#include "dialects/ONNX/IR/ONNXOps.h"
#include "lib/Checkpoint/Result.h"
#include "lib/Support/ParameterStore.h"
#include "llvm/ADT/StringSet.h"
#include <onnx/onnx_pb.h>

namespace adapter::onnxproto {

class GraphExporter {
public:
  /// `maxContents`: initialisers of more bytes are written as references to no file; -1: none are.
  GraphExporter(onnxir::ModelOp model, int64_t maxContents = -1);

  checkpoint::Status exportModel(::onnx::ModelProto &proto);

  /// After exportModel: the names that values got, and the message of each node.
  llvm::DenseMap<mlir::Value, std::string> names;
  llvm::DenseMap<mlir::Operation *, ::onnx::NodeProto *> nodes;
  /// Initialisers and their contents, for writers that place them elsewhere.
  std::vector<std::pair<::onnx::TensorProto *, checkpoint::Tensor>> initializers;

private:
  /// Names in use in one graph.
  struct Scope {
    llvm::StringSet<> taken;
  };

  checkpoint::Status exportGraph(mlir::Region &region, mlir::ArrayAttr inputNames, mlir::DictionaryAttr info,
                                 ::onnx::GraphProto &graph);
  checkpoint::Status exportFunction(onnxir::FunctionOp function, ::onnx::FunctionProto &proto);
  template <typename Proto>
  checkpoint::Status exportNodes(mlir::Block &block, Proto &proto, Scope &scope);
  checkpoint::Status exportNode(onnxir::NodeOp op, ::onnx::NodeProto &proto);
  checkpoint::Status exportAttributes(onnxir::NodeOp op, ::onnx::NodeProto &proto);
  checkpoint::Status exportParameter(ParameterOp op, ::onnx::GraphProto &graph);
  checkpoint::Status exportInterface(mlir::Block &block, mlir::DictionaryAttr info,
                                     ::onnx::GraphProto &graph);
  template <typename Proto>
  checkpoint::Status exportValueInfos(mlir::Block &block, mlir::DictionaryAttr info, Proto &proto);
  checkpoint::Status exportValueInfo(llvm::StringRef name, mlir::Type type, mlir::Attribute typeThen,
                                     mlir::Attribute text, ::onnx::ValueInfoProto &proto);

  void nameValues(mlir::Region &region, mlir::ArrayAttr inputNames, Scope &scope);
  void assign(mlir::Value value, llvm::StringRef wanted, Scope &scope);
  template <typename Message>
  checkpoint::Status restore(llvm::StringRef text, Message &message, llvm::StringRef place);

  bool shapesOnly() const { return maxContents >= 0; }
  /// For shape inference: of nodes whose operators it is not to know.
  static constexpr const char *unknownDomain = "adapter.versions";

  onnxir::ModelOp model;
  ParameterStore &store;
  int64_t maxContents;
};

} // namespace adapter::onnxproto

#endif // ADAPTER_LIB_EXPORT_ONNX_GRAPHEXPORTER_H
