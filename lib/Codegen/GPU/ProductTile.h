// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A tile of a product by one group: panels of both factors go through shared memory, each thread keeps a
// block of accumulators in registers.
#ifndef ADAPTER_LIB_CODEGEN_GPU_PRODUCTTILE_H
#define ADAPTER_LIB_CODEGEN_GPU_PRODUCTTILE_H

#include "lib/Codegen/GPU/KernelBuilder.h"

namespace adapter {

/// The factors and the result of a product, element by element. Only elements within the bounds are asked
/// for, but for columns of the right factor where `paddedColumns` says that there are some for whole tiles.
struct ProductOperands {
  mlir::Value rows, depth, columns;
  std::function<mlir::Value(mlir::Value row, mlir::Value k)> left;
  std::function<mlir::Value(mlir::Value k, mlir::Value column)> right;
  std::function<void(mlir::Value row, mlir::Value column, mlir::Value sum)> store;
  bool paddedColumns = false;
  bool rightIsTransposed = false; ///< neighbours in memory have neighbouring k
};

class ProductTile {
public:
  explicit ProductTile(KernelBuilder &k) : k(k), s(k.strategy) {}

  int64_t threads() const { return s.tileRows / s.threadRows * (s.tileColumns / s.threadColumns); }
  /// Of both panels, in elements.
  llvm::SmallVector<int64_t> sharedSizes() const {
    return {s.tileDepth * pitch(s.tileRows), s.tileDepth * pitch(s.tileColumns)};
  }
  /// Tiles that cover `rows` rows or `columns` columns.
  mlir::Value rowTiles(mlir::Value rows) { return k.ceilDiv(rows, k.index(s.tileRows)); }
  mlir::Value columnTiles(mlir::Value columns) { return k.ceilDiv(columns, k.index(s.tileColumns)); }

  /// Emits the tile number (rowTile, columnTile). All threads of the group must come here.
  void emit(const ProductOperands &operands, mlir::Value rowTile, mlir::Value columnTile);

private:
  /// Elements between rows of a panel: a little more than it is wide keeps threads off each other's banks, and
  /// as many as a vector has keeps what a thread reads aligned.
  static int64_t pitch(int64_t width) { return width + 4; }
  void loadPanel(mlir::Value panel, int64_t width, bool depthIsFastest,
                 llvm::function_ref<mlir::Value(mlir::Value k, mlir::Value at)> element);
  llvm::SmallVector<mlir::Value> multiply(mlir::ValueRange sums, mlir::Value row, mlir::Value column);

  KernelBuilder &k;
  const DeviceStrategy &s;
};

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_GPU_PRODUCTTILE_H
