// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reading ONNX models. Nothing here throws or crashes, whatever the input; errors say file, place and remedy.
#ifndef ADAPTER_LIB_IMPORT_ONNX_IMPORT_H
#define ADAPTER_LIB_IMPORT_ONNX_IMPORT_H

#include "lib/Checkpoint/Result.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/StringRef.h"

namespace adapter {

namespace onnxir {
class ModelOp;
} // namespace onnxir

struct ImportOptions {
  /// Scope of the context's ParameterStore that takes the model's tensors.
  std::string scope = "base";
  /// Symbol of the onnx.model; made from the file's name where it is empty.
  std::string symbol;
};

/// Reads a file and its external data. The store keeps views into them, so the files must not change.
checkpoint::Result<mlir::OwningOpRef<onnxir::ModelOp>>
importONNXFile(mlir::MLIRContext *context, const std::string &path, const ImportOptions &options = {});

/// Reads a serialised ModelProto; `name` stands for the file in messages. External data is refused.
checkpoint::Result<mlir::OwningOpRef<onnxir::ModelOp>> importONNXBytes(mlir::MLIRContext *context,
                                                                       llvm::StringRef bytes,
                                                                       const std::string &name,
                                                                       const ImportOptions &options = {});

} // namespace adapter

#endif // ADAPTER_LIB_IMPORT_ONNX_IMPORT_H
