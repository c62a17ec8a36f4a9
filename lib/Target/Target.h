// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What code is compiled for, and object code from the LLVM dialect.
#ifndef ADAPTER_LIB_TARGET_TARGET_H
#define ADAPTER_LIB_TARGET_TARGET_H

#include "adapter/Pipelines.h"
#include "lib/Checkpoint/Result.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include <string>
#include <vector>

namespace adapter {

/// A CPU as LLVM names it, and the device whose host it is.
struct Target {
  std::string triple, cpu, features; // features as "+avx2,+fma"
  CodegenOptions codegen;
  /// Those of the features that the code needs, as /proc/cpuinfo names them.
  std::vector<std::string> requiredFeatures;
};

/// Reads `cpu[:native|x86-64-v3|x86-64-v4]`, the native CPU and v4 also with `+bf16`, `nvidia:sm_80`, `amd:gfx942`,
/// `spirv:vulkan` or `spirv:opencl`. Other targets are errors that name what there is.
checkpoint::Result<Target> resolveTarget(llvm::StringRef name);

/// What the device's code is, as the manifest names it: ptx, hsaco, spirv-vulkan, spirv-opencl.
llvm::StringRef deviceFormat(TargetKind kind);

/// The table that code.so exports: the manifest's bytes, functions by symbol, the device's code.
struct ExportTable {
  std::string manifest;
  std::vector<std::string> functions;
  llvm::SmallVector<char, 0> deviceCode;
};

/// Compiles a module of the LLVM dialect to a relocatable object. With a table, the object defines
/// adapter_artifact_query.
checkpoint::Result<llvm::SmallVector<char, 0>> emitObject(mlir::ModuleOp module, const Target &target,
                                                          const ExportTable *table = nullptr);
/// The same as LLVM IR or assembly text.
checkpoint::Result<std::string> emitText(mlir::ModuleOp module, const Target &target, bool assembly);

/// Whether LLVM knows such a device.
checkpoint::Status checkChip(TargetKind kind, llvm::StringRef chip);

/// Translates the kernels of a module behind the phase `device` to what a driver loads, and takes them out of the
/// module.
checkpoint::Result<llvm::SmallVector<char, 0>> emitDevice(mlir::ModuleOp module, const Target &target);

/// Links an object into a shared library that exports the table alone.
checkpoint::Status linkSharedLibrary(llvm::StringRef object, llvm::StringRef output);

} // namespace adapter

#endif // ADAPTER_LIB_TARGET_TARGET_H
