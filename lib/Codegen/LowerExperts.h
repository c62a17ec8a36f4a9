// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Loops for the kernel ops of experts; a part of kernel-lower-products.
#ifndef ADAPTER_LIB_CODEGEN_LOWEREXPERTS_H
#define ADAPTER_LIB_CODEGEN_LOWEREXPERTS_H

#include "lib/Codegen/TileFunction.h"
#include "mlir/IR/Operation.h"

namespace adapter {

/// Lowers kernel.top_k, dispatch, gather_rows, grouped_linear or combine on buffers and erases it.
void lowerExpertOp(mlir::Operation *op, TileFunctions &tiles);

/// Lowers kernel.unique_rows or arrange_rows on buffers and erases it; gives an exchange contiguous buffers.
void lowerExchangeOp(mlir::Operation *op);

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_LOWEREXPERTS_H
