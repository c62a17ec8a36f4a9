// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What loops over the rows of a call have in common.
#ifndef ADAPTER_LIB_CODEGEN_ROWEMITTER_H
#define ADAPTER_LIB_CODEGEN_ROWEMITTER_H

#include "dialects/Kernel/IR/KernelOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace adapter::rows {

inline mlir::Value index(mlir::ImplicitLocOpBuilder &b, int64_t value) {
  return mlir::arith::ConstantIndexOp::create(b, value);
}
inline mlir::Value dim(mlir::ImplicitLocOpBuilder &b, mlir::Value memref, int64_t at) {
  return b.createOrFold<mlir::memref::DimOp>(memref, at);
}

/// Emits control flow around one bank.
class RowEmitter {
public:
  RowEmitter(mlir::ImplicitLocOpBuilder &b, int64_t bank)
      : RowEmitter(b, kernel::BankOp::create(b, b.getIndexType(), bank).getResult()) {}
  RowEmitter(mlir::ImplicitLocOpBuilder &b, mlir::Value bank) : b(b), bank(bank) {}

  mlir::Value getBank() const { return bank; }

  mlir::Value extent(mlir::Value entry, int64_t position) {
    return kernel::EntryExtentOp::create(b, b.getIndexType(), entry, bank, position);
  }
  mlir::Value has(mlir::Value entry, int64_t position) {
    return kernel::EntryHasOp::create(b, b.getI1Type(), entry, bank, position);
  }
  mlir::Value tensor(mlir::Value entry, int64_t position, llvm::ArrayRef<int64_t> shape,
                     mlir::ValueRange sizes, mlir::Type type = {}) {
    auto memref = mlir::MemRefType::get(shape, type ? type : b.getF32Type());
    return kernel::EntryTensorOp::create(b, memref, entry, bank, position, sizes);
  }

  mlir::Value yes() { return mlir::arith::ConstantOp::create(b, b.getBoolAttr(true)); }
  mlir::Value no() { return mlir::arith::ConstantOp::create(b, b.getBoolAttr(false)); }
  mlir::Value one() { return mlir::arith::ConstantOp::create(b, b.getF32FloatAttr(1.0f)); }

  /// Whether the assignments [first, first + count) are one, and all of its change comes to be.
  mlir::Value isPlain(mlir::Value first, mlir::Value count);
  /// Whether a linear's entry only adds to what the base makes.
  mlir::Value isSum(mlir::Value entry);

  void when(mlir::Value condition, llvm::function_ref<void()> then,
            llvm::function_ref<void()> otherwise = {}) {
    auto branch = mlir::scf::IfOp::create(b, mlir::TypeRange(), condition, static_cast<bool>(otherwise));
    mlir::OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    then();
    if (otherwise) {
      b.setInsertionPointToStart(branch.elseBlock());
      otherwise();
    }
  }

  void loop(mlir::Value from, mlir::Value to, llvm::function_ref<void(mlir::Value)> body) {
    auto range = mlir::scf::ForOp::create(b, from, to, index(b, 1));
    mlir::OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(range.getBody());
    body(range.getInductionVar());
  }

  /// Gets the number of an adapter's entry, the first position that it acts on, how many they are, and a matrix of as many
  /// rows that holds what the base made of them and is to be changed.
  using Body =
      llvm::function_ref<void(mlir::Value entry, mlir::Value begin, mlir::Value count, mlir::Value to)>;

  /// Calls `body` for each segment of rows with adapters, in parallel, to change the rows of `output`. One adapter
  /// for the whole call may come as any number of rows, which divide the positions as evenly as they can. Several
  /// adapters, or one with a weight, act on copies of what the base made; their changes are added up.
  void forEachRow(mlir::Value output, Body body);

private:
  void actOn(mlir::Value out, mlir::Value begin, mlir::Value count, mlir::Value first,
             mlir::Value assignments, Body body);
  void forEach(mlir::Value matrix, llvm::function_ref<void(mlir::ValueRange)> element);

  mlir::ImplicitLocOpBuilder &b;
  mlir::Value bank;
};

/// A contiguous buffer without its static sizes, but for the last if that is kept: loops over it are the same for sites
/// of all sizes.
inline mlir::Value ofAnySize(mlir::ImplicitLocOpBuilder &b, mlir::Value buffer, bool keepLast = false) {
  auto type = mlir::cast<mlir::MemRefType>(buffer.getType());
  llvm::SmallVector<int64_t> shape(type.getRank(), mlir::ShapedType::kDynamic);
  if (keepLast)
    shape.back() = type.getShape().back();
  llvm::SmallVector<mlir::Value> sizes;
  for (int64_t at = 0; at < type.getRank() - keepLast; ++at)
    sizes.push_back(dim(b, buffer, at));
  return kernel::ReshapeOp::create(b, mlir::MemRefType::get(shape, type.getElementType()), buffer, sizes);
}

/// A matrix or vector without its static sizes and strides: a part of a concatenation has strided rows.
inline mlir::Value rowsOfAnySize(mlir::ImplicitLocOpBuilder &b, mlir::Value buffer) {
  int64_t any = mlir::ShapedType::kDynamic, rank = mlir::cast<mlir::MemRefType>(buffer.getType()).getRank();
  llvm::SmallVector<int64_t> shape(rank, any), strides(rank, any);
  strides.back() = 1;
  auto layout = mlir::StridedLayoutAttr::get(b.getContext(), any, strides);
  mlir::Type element = mlir::cast<mlir::MemRefType>(buffer.getType()).getElementType();
  return b.createOrFold<mlir::memref::CastOp>(mlir::MemRefType::get(shape, element, layout), buffer);
}

// The `count` rows of a matrix from `begin` on.
inline mlir::Value rowsOf(mlir::ImplicitLocOpBuilder &b, mlir::Value matrix, mlir::Value begin,
                          mlir::Value count) {
  llvm::SmallVector<mlir::OpFoldResult> offsets{begin, b.getIndexAttr(0)},
      sizes{count, mlir::OpFoldResult(dim(b, matrix, 1))};
  llvm::SmallVector<mlir::OpFoldResult> strides(2, b.getIndexAttr(1));
  return mlir::memref::SubViewOp::create(b, matrix, offsets, sizes, strides);
}

} // namespace adapter::rows

#endif // ADAPTER_LIB_CODEGEN_ROWEMITTER_H
