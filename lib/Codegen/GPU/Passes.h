// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Passes from graphs on buffers to kernels of devices and the host's calls of them.
#ifndef ADAPTER_LIB_CODEGEN_GPU_PASSES_H
#define ADAPTER_LIB_CODEGEN_GPU_PASSES_H

#include "dialects/Adapter/IR/AdapterOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Pass/Pass.h"

namespace adapter {

#define GEN_PASS_DECL
#include "lib/Codegen/GPU/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "lib/Codegen/GPU/Passes.h.inc"

/// Whether a function is a graph, which a device runs.
inline bool isGraph(mlir::Operation *function) { return function->hasAttr(parametersAttribute); }

/// Name of the gpu.module that holds all kernels, and of the module's attribute that lists them.
inline constexpr llvm::StringLiteral kernelModule = "kernels";
inline constexpr llvm::StringLiteral kernelTable = "kernel.table";

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_GPU_PASSES_H
