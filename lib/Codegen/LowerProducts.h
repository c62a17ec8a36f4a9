// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What products with packed weights have in common; a part of kernel-lower-products.
#ifndef ADAPTER_LIB_CODEGEN_LOWERPRODUCTS_H
#define ADAPTER_LIB_CODEGEN_LOWERPRODUCTS_H

#include "lib/Codegen/TileFunction.h"

namespace adapter {

/// Emits a parallel loop over the column blocks of a product and, where those are few, chunks of its rows:
/// body(block, begin, end).
void forEachBlock(mlir::ImplicitLocOpBuilder &b, const TileFunctions &tiles, mlir::Value rows,
                  mlir::Value blocks, llvm::function_ref<void(mlir::Value, mlir::Value, mlir::Value)> body);

/// The rows of a matrix of f32, [rows, depth], as a product with such a weight takes them: as integers, as bf16, or with
/// zeros up to the end of the weight's last group where K `mayEnd` before it; in buffers that the caller frees. None where
/// it takes the matrix itself.
IntegerRows rowsFor(mlir::ImplicitLocOpBuilder &b, TileFunctions &tiles, kernel::FormatAttr format,
                    mlir::Value matrix, mlir::Value weight, bool mayEnd);
/// Puts rows [begin, end) of a matrix into such buffers.
void fillRows(mlir::ImplicitLocOpBuilder &b, TileFunctions &tiles, kernel::FormatAttr format,
              mlir::Value matrix, const IntegerRows &rows, mlir::Value begin, mlir::Value end, bool mayEnd);
void free(mlir::ImplicitLocOpBuilder &b, const IntegerRows &rows);

/// Emits output = input weight (+ bias, if there is one) on buffers, as kernel.linear says.
void emitLinear(mlir::ImplicitLocOpBuilder &b, TileFunctions &tiles, mlir::Value input, mlir::Value weight,
                mlir::Value bias, mlir::Value output, kernel::FormatAttr format = {}, bool mayEnd = false);

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_LOWERPRODUCTS_H
