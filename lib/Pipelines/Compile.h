// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// From a module of ONNX models to a compiled artifact, phase by phase.
#ifndef ADAPTER_LIB_PIPELINES_COMPILE_H
#define ADAPTER_LIB_PIPELINES_COMPILE_H

#include "lib/Checkpoint/Result.h"
#include "lib/Pipelines/PartitionOptions.h"
#include "lib/Target/Target.h"
#include "mlir/IR/BuiltinOps.h"
#include <functional>

namespace adapter {

/// Is told what a run is at: a name, and how many of how many parts are done; 0 of 0 where that is not known.
using StepListener = std::function<void(llvm::StringRef name, size_t done, size_t all)>;

struct CompileOptions {
  Target target;
  std::string rowInput; ///< the input whose axis carries rows; empty: the first
  int64_t rowAxis = 0;
  PartitionOptions partition;
  bool integerActivations = true; ///< weights of integers are multiplied with such
  bool bf16Activations = false;   ///< weights of bf16 are multiplied with such
  std::string weights;            ///< a word of #kernel.format; empty: as they are
  int64_t weightGroup = 0;        ///< 0: 32
  bool stateful = false;          ///< caches are state that sessions keep
  StepListener step = [](llvm::StringRef, size_t, size_t) {};
};

/// Runs the phases up to `last` (a name of compilePhases()), in place. Errors are reported on the module; the
/// message returned is empty then.
checkpoint::Status runPhases(mlir::ModuleOp module, const CompileOptions &options, llvm::StringRef last);

/// Names of the phases behind attach, in order.
std::vector<llvm::StringRef> compilePhases(TargetKind kind);

/// Suffix of a file with the kernels for such a target alone; "" for a CPU.
llvm::StringRef deviceSuffix(TargetKind kind);

/// Compiles the module and writes the artifact to the folder `path`.
checkpoint::Status compileArtifact(mlir::ModuleOp module, const CompileOptions &options,
                                   llvm::StringRef path);

/// Compiles the module to LLVM IR (.ll), assembly (.s) or an object (.o) of the host's functions at `path`, or to
/// the device's kernels (.ptx, .hsaco, .spv).
checkpoint::Status compileText(mlir::ModuleOp module, const CompileOptions &options, llvm::StringRef path);

} // namespace adapter

#endif // ADAPTER_LIB_PIPELINES_COMPILE_H
