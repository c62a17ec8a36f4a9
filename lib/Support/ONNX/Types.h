// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Types of ONNX values and their MLIR form.
#ifndef ADAPTER_LIB_SUPPORT_ONNX_TYPES_H
#define ADAPTER_LIB_SUPPORT_ONNX_TYPES_H

#include "lib/Checkpoint/Result.h"
#include "mlir/IR/BuiltinTypes.h"

namespace onnx {
class TypeProto;
} // namespace onnx

namespace adapter::onnxproto {

/// The MLIR type of a TypeProto. What MLIR's type cannot say (denotations, opaque types) is left out.
checkpoint::Result<mlir::Type> importType(const onnx::TypeProto &proto, mlir::MLIRContext *context);

/// The inverse. Types that no TypeProto has leave it empty.
void exportType(mlir::Type type, onnx::TypeProto &proto);

/// The MLIR element type of a TensorProto.DataType; !onnx.unknown for codes that ONNX does not define.
mlir::Type importElementType(int32_t code, mlir::MLIRContext *context);
/// The inverse; 0 where ONNX has none.
int32_t exportElementType(mlir::Type elementType);

/// What both types say, dimension by dimension; where they contradict each other, `first` holds.
mlir::Type combineTypes(mlir::Type first, mlir::Type second);

} // namespace adapter::onnxproto

#endif // ADAPTER_LIB_SUPPORT_ONNX_TYPES_H
