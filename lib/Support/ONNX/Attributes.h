// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Attributes of nodes.
#ifndef ADAPTER_LIB_SUPPORT_ONNX_ATTRIBUTES_H
#define ADAPTER_LIB_SUPPORT_ONNX_ATTRIBUTES_H

#include "lib/Support/ONNX/Tensors.h"
#include "mlir/IR/Attributes.h"

namespace onnx {
class AttributeProto;
} // namespace onnx

namespace adapter::onnxproto {

/// The MLIR form of a node's attribute; null where it has none and the message must be kept.
/// A tensor's contents go to the store, under a key made from `key`.
checkpoint::Result<mlir::Attribute> importAttribute(::onnx::AttributeProto &proto, llvm::StringRef key,
                                                    TensorReader &tensors, mlir::MLIRContext *context);

/// The inverse, the name aside. False for an attribute that ONNX cannot say or whose tensor is not there.
bool exportAttribute(mlir::Attribute attribute, const ParameterStore &store, ::onnx::AttributeProto &proto);

} // namespace adapter::onnxproto

#endif // ADAPTER_LIB_SUPPORT_ONNX_ATTRIBUTES_H
