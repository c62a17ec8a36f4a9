// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Functions of sparse forms that cost what they touch.
#ifndef ADAPTER_LIB_COMPILE_SPARSEFORM_H
#define ADAPTER_LIB_COMPILE_SPARSEFORM_H

#include "lib/Compile/FormFunctions.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace adapter {

inline bool isSparseForm(llvm::StringRef form) { return form == "sparse" || form == "sparse+overwrite"; }

/// Adds @touch and @restore over (weights, pristine, indices, values, scale), both parameters buffers as stored.
/// @touch applies the update to `weights` in place; @restore gives them the bytes of `pristine` wherever @touch
/// changes them.
void addTouchFunctions(mlir::ModuleOp module, const FormKey &key, int64_t block, llvm::StringRef touch,
                       llvm::StringRef restore);

/// For a row-bound linear: coordinates i64 [2, n] as (input, output) and what is added there, f32 [n], from the
/// indices and values of the checkpoint; `base` is the packed weight.
std::pair<mlir::Value, mlir::Value> emitSparseEntries(mlir::ImplicitLocOpBuilder &builder, const FormKey &key,
                                                      int64_t block, mlir::Value base, mlir::Value indices,
                                                      mlir::Value values, mlir::Value scale);

/// The sparse update of a parameter of type `target`, [in, out] for a linear.
mlir::Value makeSparseUpdate(mlir::ImplicitLocOpBuilder &builder, const FormKey &key,
                             mlir::RankedTensorType target, mlir::Value indices, mlir::Value values,
                             mlir::Value scale);

} // namespace adapter

#endif // ADAPTER_LIB_COMPILE_SPARSEFORM_H
