// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Loops for updates that differ by row; a part of kernel-lower-products.
#ifndef ADAPTER_LIB_CODEGEN_LOWERROWS_H
#define ADAPTER_LIB_CODEGEN_LOWERROWS_H

#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Codegen/TileFunction.h"
#include "mlir/IR/Operation.h"

namespace adapter {

/// Lowers kernel.row_linear, kernel.row_embedding, kernel.row_bottleneck or kernel.row_vectors on buffers and
/// erases it.
void lowerRowUpdate(mlir::Operation *op, TileFunctions &tiles);
void lowerRowLinear(kernel::RowLinearOp op, TileFunctions &tiles);
void lowerRowBottleneck(kernel::RowBottleneckOp op, TileFunctions &tiles);

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_LOWERROWS_H
