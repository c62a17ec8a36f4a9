// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Registers what the tools know: this project's dialects and passes and the upstream ones they use.
#ifndef ADAPTER_INITALL_H
#define ADAPTER_INITALL_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace adapter {

/// Dialects and their interfaces.
void registerAllDialects(mlir::DialectRegistry &registry);
/// Passes and pipelines.
void registerAllPasses();

} // namespace adapter

#endif // ADAPTER_INITALL_H
