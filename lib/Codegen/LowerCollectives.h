// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Exchanges between processes in terms of the host table; a part of kernel-lower-calls.
#ifndef ADAPTER_LIB_CODEGEN_LOWERCOLLECTIVES_H
#define ADAPTER_LIB_CODEGEN_LOWERCOLLECTIVES_H

#include "mlir/IR/BuiltinOps.h"

namespace adapter {

/// Lowers kernel.process, all_to_all, all_to_all_rows, all_gather_rows and routed, control flow being blocks. Leaves
/// a cf.assert behind each exchange.
void lowerCollectives(mlir::ModuleOp module);

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_LOWERCOLLECTIVES_H
