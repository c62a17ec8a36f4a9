// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reductions whose results lie side by side, some of them at once; a part of convert-linalg-to-kernel-loops.
#ifndef ADAPTER_LIB_CODEGEN_VECTORREDUCTION_H
#define ADAPTER_LIB_CODEGEN_VECTORREDUCTION_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace adapter {

/// So many results of a row are made at once.
inline constexpr int64_t vectorResults = 32;

/// Whether results along the parallel dimension `dim` can be made at once: all that differs between them lies side by side.
bool canReduceVectors(mlir::linalg::GenericOp op, unsigned dim);

/// Emits the loops over the reduction dimensions `dims` for the results from indices[dim] on. Each result is summed in the
/// order in which it would be alone.
void emitVectorReduction(mlir::ImplicitLocOpBuilder &b, mlir::linalg::GenericOp op, unsigned dim,
                         llvm::ArrayRef<unsigned> dims, llvm::ArrayRef<mlir::Value> sizes,
                         llvm::SmallVector<mlir::Value> indices);

/// Emits the body for one point, or, where some arguments are vectors of vectorResults elements, for as many points; what is
/// the same for all of them is computed once. Arguments that the body does not use may be null. Returns what it yields.
llvm::SmallVector<mlir::Value> emitBody(mlir::ImplicitLocOpBuilder &b, mlir::linalg::GenericOp op,
                                        llvm::ArrayRef<mlir::Value> indices,
                                        llvm::ArrayRef<mlir::Value> arguments);

/// Where a map points to for given indices of the loops.
llvm::SmallVector<mlir::Value> position(mlir::ImplicitLocOpBuilder &b, mlir::AffineMap map,
                                        llvm::ArrayRef<mlir::Value> indices);

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_VECTORREDUCTION_H
