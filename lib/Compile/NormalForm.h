// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Updates as what they do to activations: y = after(gain * (W R x + up down x)), where that is all they do.
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

/// Something that happens behind the products: what a product of maps makes of the rows' input is added, or the result
/// is mapped.
struct AfterMap {
  bool isLeft;
  AddedTerm term;
};

/// W' = after(diag(gain) unit(W R + sum of terms)). All that is added is of the rows as they come in, so that what R would
/// have rotated first has R in its own factors.
struct NormalForm {
  llvm::SmallVector<MapFactor> right; ///< R as a product
  llvm::SmallVector<AddedTerm> terms; ///< products of thin matrices
  mlir::Value gain;                   ///< [out] of f64, or null for 1
  bool unit = false;                  ///< whether rows are brought to length 1 before the gain
  llvm::SmallVector<AfterMap> after;  ///< the first acts first

  bool needsSteps() const { return !right.empty() || !after.empty(); }
};

/// The normal form of an update that a form's body makes; nothing where it is of another kind. `weight` makes the weight
/// [out, cols] of f64, where norms are of it, and gains hold them; without it, `unit` says that they are to be taken.
std::optional<NormalForm> normalFormOf(mlir::ImplicitLocOpBuilder &builder, mlir::Value update,
                                       llvm::function_ref<mlir::Value()> weight = {});

/// The terms, of which there are some, as one product of [out, r] and [r, cols], ranks side by side.
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

/// Elements [2, count] of (output, column) and their values [count], where a map of few elements is added and that is
/// all.
std::optional<std::pair<mlir::Value, mlir::Value>> addedElements(mlir::ImplicitLocOpBuilder &builder,
                                                                 const NormalForm &form);

/// A tensor of f64 times a factor, where there is one.
mlir::Value scaledBy(mlir::ImplicitLocOpBuilder &builder, mlir::Value tensor, mlir::Value factor);

} // namespace adapter

#endif // ADAPTER_LIB_COMPILE_NORMALFORM_H
