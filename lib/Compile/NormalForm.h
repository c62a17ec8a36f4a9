// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Updates as what they do to activations: y = gain * (W x + up down x) + shift, where that is all they do.
#ifndef ADAPTER_LIB_COMPILE_NORMALFORM_H
#define ADAPTER_LIB_COMPILE_NORMALFORM_H

#include "dialects/Adapter/IR/MapUtils.h"
#include <optional>

namespace adapter {

/// A product of maps, times a factor where there is one, that is added to the weight.
struct AddedTerm {
  llvm::SmallVector<MapFactor> factors;
  mlir::Value scale;
};

/// W' = diag(gain) (W + sum of terms).
struct NormalForm {
  llvm::SmallVector<AddedTerm> terms;
  mlir::Value gain; ///< [out] of f64, or null for 1
};

/// The normal form of an update that a form's body makes; nothing where it is of another kind. `weight` makes the weight
/// [out, cols] of f64, where norms are of it.
std::optional<NormalForm> normalFormOf(mlir::ImplicitLocOpBuilder &builder, mlir::Value update,
                                       llvm::function_ref<mlir::Value()> weight);

/// The terms as one product of [out, r] and [r, cols], ranks side by side; null where a term is no product of thin
/// matrices.
DenseFactors stackedFactors(mlir::ImplicitLocOpBuilder &builder, llvm::ArrayRef<AddedTerm> terms,
                            mlir::Value columns);

/// Elements that an update puts in the weight's place: (output, column) [2, count] and values [count] of f64, and how
/// much of their way they go (null: all). Nothing where the update does more, or something else.
struct PutElements {
  mlir::Value places, values, share;
};
std::optional<PutElements> putElements(mlir::Value update);

/// Columns that an update puts in the weight's place: indices [n] and values [out, n] of f64.
std::optional<std::pair<mlir::Value, mlir::Value>> putColumns(mlir::Value update);

/// The terms as elements [2, count] of (output, column) and their values [count], where all that is added is one map of
/// few elements.
std::optional<std::pair<mlir::Value, mlir::Value>> addedElements(mlir::ImplicitLocOpBuilder &builder,
                                                                 llvm::ArrayRef<AddedTerm> terms);

} // namespace adapter

#endif // ADAPTER_LIB_COMPILE_NORMALFORM_H
