// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Input and output files of adapter-opt, by suffix.
#ifndef ADAPTER_LIB_PIPELINES_FILES_H
#define ADAPTER_LIB_PIPELINES_FILES_H

#include "lib/Checkpoint/Result.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include <vector>

namespace adapter {

/// What a file's name says it holds.
enum class FileKind { ONNX, MLIR, Bytecode, Standard, Unknown };
FileKind fileKindOf(llvm::StringRef path);

/// Replaces folders by the models in them, in the order of their names.
checkpoint::Result<std::vector<std::string>> expandInputs(const std::vector<std::string> &inputs);

/// All models of the inputs in one module. Tensors of a single one are in scope "base", those of several in
/// scopes named as their symbols. Parse errors are diagnostics of the context; the message then is empty.
checkpoint::Result<mlir::OwningOpRef<mlir::ModuleOp>> readInputs(mlir::MLIRContext *context,
                                                                 const std::vector<std::string> &inputs);

/// Writes by rename; `path` "-" is `out`, for IR only. Several models go to a folder of ONNX files, all
/// of them or none; what else a model needs (tokenizers, configurations) is copied along from the folders among
/// the `inputs`.
checkpoint::Status writeOutput(mlir::ModuleOp module, const std::string &path, llvm::raw_ostream &out,
                               const std::vector<std::string> &inputs = {});

} // namespace adapter

#endif // ADAPTER_LIB_PIPELINES_FILES_H
