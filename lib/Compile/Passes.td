// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Passes that split a program by binding time.
#ifndef ADAPTER_LIB_COMPILE_PASSES_TD
#define ADAPTER_LIB_COMPILE_PASSES_TD

include "mlir/Pass/PassBase.td"

def StagePass : Pass<"adapter-stage", "mlir::ModuleOp"> {
  let summary = "Evaluate what is known at build time";
  let description = [{
    In functions with a parameter table (`adapter.parameters`): values that depend on parameters alone and
    are read by the rest are computed now, by compiled code, and become parameters. Parameters that nothing
    reads any more leave the table.
  }];
  let dependentDialects = ["::adapter::kernel::KernelDialect"];
}

#endif // ADAPTER_LIB_COMPILE_PASSES_TD
