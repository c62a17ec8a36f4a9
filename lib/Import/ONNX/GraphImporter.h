// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Bodies of graphs, subgraphs and functions.
#ifndef ADAPTER_LIB_IMPORT_ONNX_GRAPHIMPORTER_H
#define ADAPTER_LIB_IMPORT_ONNX_GRAPHIMPORTER_H

#include "dialects/ONNX/IR/ONNXOps.h"
#include "lib/Support/ONNX/Tensors.h"
#include "mlir/IR/Builders.h"
#include <google/protobuf/repeated_field.h>
#include <onnx/onnx_pb.h>

namespace adapter::onnxproto {

/// Values by name; a subgraph sees those of the graphs around it.
struct NameScope {
  const NameScope *outer = nullptr;
  llvm::StringMap<mlir::Value> values;

  mlir::Value lookup(llvm::StringRef name) const {
    for (const NameScope *scope = this; scope; scope = scope->outer)
      if (mlir::Value value = scope->values.lookup(name))
        return value;
    return {};
  }
};

class GraphImporter {
public:
  /// `explicitDomains`: what onnx.model's attribute of that name will say.
  GraphImporter(mlir::MLIRContext *context, TensorReader &tensors, bool explicitDomains)
      : builder(context), tensors(tensors), explicitDomains(explicitDomains) {}

  /// Fills an empty region. `info` gets what the IR does not say otherwise, `inputNames` the names of the
  /// block's arguments.
  checkpoint::Status importGraph(::onnx::GraphProto &graph, mlir::Region &region, const NameScope *outer,
                                 mlir::NamedAttrList &info, mlir::ArrayAttr &inputNames);
  checkpoint::Status importFunction(::onnx::FunctionProto &function, mlir::Region &region,
                                    mlir::NamedAttrList &info, mlir::ArrayAttr &inputNames);

private:
  using ValueInfos = google::protobuf::RepeatedPtrField<::onnx::ValueInfoProto>;
  using Nodes = google::protobuf::RepeatedPtrField<::onnx::NodeProto>;
  struct Body;

  checkpoint::Status importInitializers(::onnx::GraphProto &graph, Body &body);
  checkpoint::Status importInputs(::onnx::GraphProto &graph, Body &body);
  checkpoint::Status importOutputs(::onnx::GraphProto &graph, Body &body);
  checkpoint::Status readTypes(const ValueInfos &infos, Body &body);
  checkpoint::Status importNodes(Nodes &nodes, Body &body);
  checkpoint::Status importNode(::onnx::NodeProto &node, const Nodes &all, Body &body);
  checkpoint::Status importAttributes(::onnx::NodeProto &node, Body &body, mlir::OperationState &state);
  checkpoint::Status importSubgraph(::onnx::GraphProto &graph, llvm::StringRef name, Body &body,
                                    mlir::OperationState &state);
  checkpoint::Result<mlir::Attribute> leftOver(::onnx::ValueInfoProto &info, mlir::Type type);
  checkpoint::Status listValueInfos(ValueInfos &infos, Body &body);
  checkpoint::Status define(llvm::StringRef name, mlir::Value value, Body &body);
  mlir::Value absent(Body &body);

  mlir::Builder builder;
  TensorReader &tensors;
  bool explicitDomains;
  // Of the node being imported, for `importAttributes`.
  llvm::SmallVector<mlir::Attribute> regionNames;
  mlir::NamedAttrList regionInfo;
};

} // namespace adapter::onnxproto

#endif // ADAPTER_LIB_IMPORT_ONNX_GRAPHIMPORTER_H
