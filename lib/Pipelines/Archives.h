// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where the tensors of textual IR are: the module's attribute `adapter.archives` maps each scope to a file,
// by path relative to the IR's own, and its hash.
#ifndef ADAPTER_LIB_PIPELINES_ARCHIVES_H
#define ADAPTER_LIB_PIPELINES_ARCHIVES_H

#include "lib/Checkpoint/File.h"
#include "mlir/IR/BuiltinOps.h"

namespace adapter {

/// Name of the module's attribute.
inline constexpr const char *archivesAttribute = "adapter.archives";

/// Maps the files that the module names into the context's ParameterStore. `folder`: of the module's file.
checkpoint::Status bindArchives(mlir::ModuleOp module, const std::string &folder);

/// Writes the tensors that the module names beside the file `path` that it will be written to:
/// stem.safetensors for scope "base", stem.scope.safetensors for others. Sets the attribute. The files are not in their
/// places before they are committed.
checkpoint::Result<std::vector<std::unique_ptr<checkpoint::AtomicFile>>>
writeArchives(mlir::ModuleOp module, const std::string &path);

/// Sets the attribute to the files that the tensors were read from, for IR that goes to no file.
checkpoint::Status referToSources(mlir::ModuleOp module);

} // namespace adapter

#endif // ADAPTER_LIB_PIPELINES_ARCHIVES_H
