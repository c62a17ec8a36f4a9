// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a linalg.generic computes at one point, in a kernel.
#ifndef ADAPTER_LIB_CODEGEN_GPU_GENERICBODY_H
#define ADAPTER_LIB_CODEGEN_GPU_GENERICBODY_H

#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Codegen/GPU/KernelBuilder.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/IRMapping.h"

namespace adapter {

class GenericBody {
public:
  GenericBody(mlir::linalg::GenericOp op, KernelBuilder &k, KernelChecks &checks)
      : op(op), b(k.b), k(k), checks(checks) {}

  /// On the host: the buffers of operands and of what the body reads by itself.
  void flatten();
  llvm::SmallVector<mlir::Value> loadInputs(llvm::ArrayRef<mlir::Value> indices);
  /// Null for outputs that the body does not read, with onlyRead.
  llvm::SmallVector<mlir::Value> loadOutputs(llvm::ArrayRef<mlir::Value> indices, bool onlyRead);
  void storeOutputs(llvm::ArrayRef<mlir::Value> indices, mlir::ValueRange values);
  /// What the body yields.
  llvm::SmallVector<mlir::Value> emit(llvm::ArrayRef<mlir::Value> indices, llvm::ArrayRef<mlir::Value> inputs,
                                      llvm::ArrayRef<mlir::Value> outputs);

private:
  llvm::SmallVector<mlir::Value> positionOf(mlir::OpOperand &operand, llvm::ArrayRef<mlir::Value> indices);
  llvm::SmallVector<mlir::Value> emitFrom(mlir::Block::iterator at, llvm::ArrayRef<mlir::Value> indices,
                                          mlir::IRMapping &mapping);
  void adapt(mlir::Operation *clone, llvm::ArrayRef<mlir::Value> indices);
  mlir::Value toIndex(mlir::Value i64);
  llvm::SmallVector<mlir::Value> emitChecked(kernel::RequireOp check, mlir::Block::iterator rest,
                                             llvm::ArrayRef<mlir::Value> indices, mlir::IRMapping &mapping);

  mlir::linalg::GenericOp op;
  mlir::ImplicitLocOpBuilder &b;
  KernelBuilder &k;
  KernelChecks &checks;
  llvm::DenseMap<mlir::Value, FlatBuffer> buffers;
  FlatBuffer status;
};

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_GPU_GENERICBODY_H
