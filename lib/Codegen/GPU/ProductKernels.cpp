// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// kernel.linear and kernel.batch_matmul on device buffers: a group takes one tile after the other.
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Codegen/GPU/ProductTile.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace adapter;

static void lowerLinear(kernel::LinearOp op, const DeviceStrategy &strategy) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  KernelBuilder k(b, strategy, "linear");
  ProductTile tile(k);
  auto dim = [&](Value memref, int64_t at) { return b.createOrFold<memref::DimOp>(memref, at); };
  FlatBuffer input = k.flatten(op.getInput()), weight = k.flatten(op.getWeight()),
             output = k.flatten(op.getOutput());
  FlatBuffer bias = op.getBias() ? k.flatten(op.getBias()) : FlatBuffer();
  ProductOperands operands;
  operands.rows = dim(op.getInput(), 0);
  operands.depth = dim(op.getInput(), 1);
  operands.columns = dim(op.getOutput(), 1);
  operands.paddedColumns = true;
  Value rowTiles = tile.rowTiles(operands.rows), columnTiles = tile.columnTiles(operands.columns);
  Value count = k.mul(rowTiles, columnTiles);

  Value block = k.index(strategy.tileColumns);
  operands.left = [&](Value row, Value depth) { return k.load(input, {row, depth}); };
  operands.right = [&](Value depth, Value column) {
    return k.load(weight, {k.div(column, block), depth, k.rem(column, block)});
  };
  operands.store = [&](Value row, Value column, Value sum) {
    if (op.getBias())
      sum = arith::AddFOp::create(b, sum, k.load(bias, {column}));
    k.store(sum, output, {row, column});
  };
  k.begin(count, tile.threads(), tile.sharedSizes());
  k.forGroups(count, [&](Value number) {
    // Groups that run at the same time share the rows' panel of columns.
    tile.emit(operands, k.rem(number, rowTiles), k.div(number, rowTiles));
  });
  k.finish();
  op.erase();
}

static void lowerBatchMatmul(kernel::BatchMatmulOp op, const DeviceStrategy &strategy) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  KernelBuilder k(b, strategy, "batch_matmul");
  ProductTile tile(k);
  auto dim = [&](Value memref, int64_t at) { return b.createOrFold<memref::DimOp>(memref, at); };
  FlatBuffer lhs = k.flatten(op.getLhs()), rhs = k.flatten(op.getRhs()), output = k.flatten(op.getOutput());
  ProductOperands operands;
  operands.rows = dim(op.getLhs(), 1);
  operands.depth = dim(op.getLhs(), 2);
  operands.columns = dim(op.getOutput(), 2);
  operands.rightIsTransposed = op.getTransposeRhs();
  Value rowTiles = tile.rowTiles(operands.rows), columnTiles = tile.columnTiles(operands.columns);
  Value tiles = k.mul(rowTiles, columnTiles);
  Value count = k.mul(tiles, dim(op.getOutput(), 0));

  k.begin(count, tile.threads(), tile.sharedSizes());
  k.forGroups(count, [&](Value number) {
    Value batch = k.div(number, tiles), within = k.rem(number, tiles);
    operands.left = [&](Value row, Value depth) { return k.load(lhs, {batch, row, depth}); };
    operands.right = [&](Value depth, Value column) {
      return op.getTransposeRhs() ? k.load(rhs, {batch, column, depth}) : k.load(rhs, {batch, depth, column});
    };
    operands.store = [&](Value row, Value column, Value sum) { k.store(sum, output, {batch, row, column}); };
    tile.emit(operands, k.rem(within, rowTiles), k.div(within, rowTiles));
  });
  k.finish();
  op.erase();
}

LogicalResult adapter::lowerProductToKernel(Operation *op, const DeviceStrategy &strategy) {
  if (auto linear = dyn_cast<kernel::LinearOp>(op)) {
    if (cast<MemRefType>(linear.getWeight().getType()).getDimSize(2) != strategy.tileColumns)
      return op->emitError("packs its weight in other blocks than the device's tiles");
    lowerLinear(linear, strategy);
    return success();
  }
  lowerBatchMatmul(cast<kernel::BatchMatmulOp>(op), strategy);
  return success();
}
