// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Functions that compute rows [begin, end) of one column block of a product, register tile by register tile.
#ifndef ADAPTER_LIB_CODEGEN_TILEFUNCTION_H
#define ADAPTER_LIB_CODEGEN_TILEFUNCTION_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace adapter {

/// What accumulators hold at first: zero, the bias, or what the output holds.
enum class TileStart { Zero, Bias, Output };

class TileFunctions {
public:
  /// Tiles of `rows` rows and `vectors` vectors of `lanes` f32.
  TileFunctions(mlir::ModuleOp module, int64_t lanes, int64_t rows, int64_t vectors)
      : module(module), lanes(lanes), rows(rows), vectors(vectors) {}

  int64_t getRows() const { return rows; }
  int64_t getBlock() const { return vectors * lanes; }

  /// Emits a call that computes output[begin:end, block's columns] from input [m, k], weight
  /// [blocks, k, block] and bias [n] (null unless start is Bias). Matrices may be strided by row; the weight may be
  /// one of several that lie one after the other, see sliceAt.
  void call(mlir::ImplicitLocOpBuilder &b, TileStart start, mlir::Value input, mlir::Value weight,
            mlir::Value bias, mlir::Value output, mlir::Value block, mlir::Value begin, mlir::Value end);

private:
  mlir::func::FuncOp get(TileStart start, bool isSlice);

  mlir::ModuleOp module;
  int64_t lanes, rows, vectors;
  mlir::func::FuncOp functions[2][3];
};

/// The part of a contiguous buffer at `at` in its first dimension.
mlir::Value sliceAt(mlir::ImplicitLocOpBuilder &b, mlir::Value buffer, mlir::Value at);

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_TILEFUNCTION_H
