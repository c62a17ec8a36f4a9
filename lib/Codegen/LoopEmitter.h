// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Loops over buffers, in few words.
#ifndef ADAPTER_LIB_CODEGEN_LOOPEMITTER_H
#define ADAPTER_LIB_CODEGEN_LOOPEMITTER_H

#include "dialects/Kernel/IR/KernelOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace adapter {

/// Shorthand over a builder.
struct LoopEmitter {
  mlir::ImplicitLocOpBuilder &b;

  mlir::Value dim(mlir::Value memref, int64_t at) { return b.createOrFold<mlir::memref::DimOp>(memref, at); }
  mlir::Value index(int64_t value) { return mlir::arith::ConstantIndexOp::create(b, value); }
  mlir::Value integer(int64_t value) {
    return mlir::arith::ConstantOp::create(b, b.getI64IntegerAttr(value));
  }
  mlir::Value add(mlir::Value x, mlir::Value y) { return mlir::arith::AddIOp::create(b, x, y); }
  mlir::Value load(mlir::Value memref, mlir::ValueRange at) {
    return mlir::memref::LoadOp::create(b, memref, at);
  }
  // An element of a buffer of i64 as an index.
  mlir::Value loadIndex(mlir::Value memref, mlir::ValueRange at) {
    return mlir::arith::IndexCastOp::create(b, b.getIndexType(), load(memref, at));
  }
  void store(mlir::Value value, mlir::Value memref, mlir::ValueRange at) {
    mlir::memref::StoreOp::create(b, value, memref, at);
  }
  void storeIndex(mlir::Value value, mlir::Value memref, mlir::ValueRange at) {
    store(mlir::arith::IndexCastOp::create(b, b.getI64Type(), value), memref, at);
  }

  void loop(mlir::Value from, mlir::Value to, llvm::function_ref<void(mlir::Value)> body) {
    auto range = mlir::scf::ForOp::create(b, from, to, index(1));
    mlir::OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(range.getBody());
    body(range.getInductionVar());
  }

  llvm::SmallVector<mlir::Value>
  fold(mlir::Value to, mlir::ValueRange initial,
       llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value, mlir::ValueRange)> body) {
    auto range = mlir::scf::ForOp::create(b, index(0), to, index(1), initial);
    mlir::OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(range.getBody());
    mlir::scf::YieldOp::create(b, body(range.getInductionVar(), range.getRegionIterArgs()));
    return range.getResults();
  }

  void parallel(mlir::Value count, int64_t grain, llvm::function_ref<void(mlir::Value)> body) {
    auto loop = kernel::ParallelOp::create(b, count, index(grain));
    mlir::OpBuilder::InsertionGuard guard(b);
    mlir::Block *block = b.createBlock(&loop.getBody(), {}, b.getIndexType(), b.getLoc());
    body(block->getArgument(0));
    kernel::YieldOp::create(b);
  }
};

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_LOOPEMITTER_H
