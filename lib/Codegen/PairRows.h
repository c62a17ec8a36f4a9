// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rows rounded to bf16, for products with weights of bf16. Where pairs of products are summed at once a word of 32 bits
// holds two steps of K, the first in the low half, as a weight's words do; else the rounded numbers are kept as f32.
#ifndef ADAPTER_LIB_CODEGEN_PAIRROWS_H
#define ADAPTER_LIB_CODEGEN_PAIRROWS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace adapter {

/// The bits of a vector of f32 rounded to bf16, to nearest, halves to even, in the high halves of a vector of i32; what
/// the low halves hold is left to whoever reads. What is not a number stays so.
mlir::Value roundedToBF16(mlir::ImplicitLocOpBuilder &b, mlir::Value numbers);

/// Rows of words, [rows, depth / 2] of i32, or of f32, [rows, depth].
mlir::MemRefType pairRowsType(mlir::Builder &b, bool asPairs);

/// Adds to a module the function over (matrix of f32, such rows, begin, end) that rounds rows [begin, end). What rows hold
/// beyond the matrix's columns is zero.
mlir::func::FuncOp makePairRows(mlir::ModuleOp module, int64_t lanes, bool asPairs);

/// sum + the products of each lane's second numbers + those of its first, each sum rounded once, by the processor's
/// instruction for it, which takes denormals as zeros and makes none. All operands are of 32 bits a lane, one vector.
mlir::Value emitPairDot(mlir::ImplicitLocOpBuilder &b, mlir::Value sum, mlir::Value pairs,
                        mlir::Value otherPairs);

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_PAIRROWS_H
