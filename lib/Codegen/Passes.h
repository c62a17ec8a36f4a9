// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Passes from linalg and kernel ops on buffers down to LLVM.
#ifndef ADAPTER_LIB_CODEGEN_PASSES_H
#define ADAPTER_LIB_CODEGEN_PASSES_H

#include "mlir/Pass/Pass.h"

namespace mlir {
class DialectRegistry;
class RewritePatternSet;
} // namespace mlir

namespace adapter {

#define GEN_PASS_DECL
#include "lib/Codegen/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "lib/Codegen/Passes.h.inc"

/// How kernel ops become buffers.
void registerKernelBufferization(mlir::DialectRegistry &registry);

/// exp, log, tanh, erf, sin and cos of f64 as arithmetic.
void populateMathF64Patterns(mlir::RewritePatternSet &patterns);

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_PASSES_H
