// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rows rounded to integers of 8 bits, for products with weights of integers. Each block of 32 numbers of a row has a
// scale, its largest magnitude over 127. A word holds four numbers, the first in the lowest byte. Beside each scale
// stands what repays the weight's offset: offset * sum of the block's integers * scale, taken away.
#ifndef ADAPTER_LIB_CODEGEN_INTEGERROWS_H
#define ADAPTER_LIB_CODEGEN_INTEGERROWS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace adapter {

inline constexpr int64_t integerBlock = 32;

/// How products of bytes are summed.
enum class IntegerDot { Portable, VNNI };

struct IntegerRows {
  mlir::Value
      words; ///< [rows, depth / 4] of i32; without scales those of PairRows.h, or of f32 with zeros at their ends
  mlir::Value scales; ///< [rows, 2 depth / 32] of f32; null where the rows are not of integers
  explicit operator bool() const { return static_cast<bool>(words); }
};

mlir::MemRefType integerRowsType(mlir::Builder &b);
mlir::MemRefType integerScalesType(mlir::Builder &b);

/// Adds to a module the function over (matrix of f32, words, scales, begin, end) that rounds rows [begin, end). What the
/// words hold beyond the matrix's columns is zero, where it `mayEnd` before them.
mlir::func::FuncOp makeRoundRows(mlir::ModuleOp module, int64_t lanes, int64_t offset, bool mayEnd);

/// A vector of i32 with one number in all lanes.
mlir::Value spreadInteger(mlir::ImplicitLocOpBuilder &b, int64_t lanes, int64_t value);

/// sum + the products of each lane's four bytes, unsigned ones and signed ones. All operands are vectors of i32.
mlir::Value emitDot(mlir::ImplicitLocOpBuilder &b, IntegerDot dot, mlir::Value sum, mlir::Value unsignedBytes,
                    mlir::Value signedBytes);

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_INTEGERROWS_H
