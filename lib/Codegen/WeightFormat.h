// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reads numbers of a weight in a narrow format, vector by vector; see #kernel.format.
#ifndef ADAPTER_LIB_CODEGEN_WEIGHTFORMAT_H
#define ADAPTER_LIB_CODEGEN_WEIGHTFORMAT_H

#include "dialects/Kernel/IR/KernelOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace adapter {

/// Emits reads of a column block's panel, weight[block] of [blocks, groups, bytes].
struct WeightReader {
  using Values = llvm::SmallVector<mlir::Value>;

  mlir::ImplicitLocOpBuilder &b;
  kernel::FormatAttr format;
  int64_t lanes, vectors; ///< of f32 in a vector, and vectors of the block's columns that are read
  mlir::Value weight, block;

  /// The columns' scales in a group, f32; none where the format has none.
  Values scales(mlir::Value group) const;
  /// Their zero points, likewise.
  Values zeros(mlir::Value group) const;
  /// Word number `word` of the columns in a group, i32.
  Values words(mlir::Value group, mlir::Value word) const;
  /// Of words of integers: four steps of each column, as bytes from 0 on, those of part number `part`.
  Values bytes(mlir::ValueRange words, int64_t part) const;
  /// What step number `step` of such words stands for, f32.
  Values numbers(mlir::ValueRange words, int64_t step, mlir::ValueRange scales, mlir::ValueRange zeros) const;

private:
  int64_t columns() const;
  mlir::Value loadAs(mlir::Type element, mlir::Value group, mlir::Value byte) const;
  Values perColumn(mlir::Value group, int64_t first) const;
  mlir::Value number(mlir::Value word, int64_t step) const;
};

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_WEIGHTFORMAT_H
