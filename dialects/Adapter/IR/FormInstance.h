// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A form's body for given tensors at one kind of place.
#ifndef ADAPTER_DIALECTS_ADAPTER_IR_FORMINSTANCE_H
#define ADAPTER_DIALECTS_ADAPTER_IR_FORMINSTANCE_H

#include "dialects/Adapter/IR/AdapterOps.h"
#include "llvm/ADT/DenseSet.h"
#include <functional>
#include <map>

namespace adapter {

/// What a form is used with. Values that the body does not ask for are not made.
struct FormInputs {
  SiteKind kind;
  bool storedTransposed = false;                      ///< the checkpoint's weight is [in, out]
  bool delivered = false;                             ///< tensors have the dimensions that the body wants
  bool wantsBias = false;                             ///< the bias is made, not the update
  std::map<std::string, mlir::Value> roles;           ///< as the checkpoint has them
  std::map<std::string, mlir::Value> scalars;         ///< f64; others take their defaults
  std::function<mlir::Value(llvm::StringRef)> symbol; ///< an index
  std::function<mlir::Value()> weight;                ///< [out, cols] of f64
  std::function<mlir::Value()> bias;                  ///< [out] of f64
};

/// Copies a form's body to where the builder stands: the update of tensor<?x?xf64>, or the bias. What that does not depend
/// on, or only another choice of optional tensors reads, is left out.
mlir::Value instantiateForm(mlir::ImplicitLocOpBuilder &builder, FormOp form, const FormInputs &inputs);

/// The ops of a body that one of its results depends on, where the given roles are there.
llvm::DenseSet<mlir::Operation *> opsBehind(FormOp form, mlir::Value result,
                                            llvm::function_ref<bool(llvm::StringRef)> isGiven);
/// Whether a result of a body, 0 the update and 1 the bias, depends on the weight where the given roles are there.
bool readsWeight(FormOp form, unsigned result, llvm::function_ref<bool(llvm::StringRef)> isGiven);

/// A tensor of floats as one of f64.
mlir::Value widened(mlir::ImplicitLocOpBuilder &builder, mlir::Value tensor);

/// A matrix of any element type, transposed.
mlir::Value transposedMatrix(mlir::ImplicitLocOpBuilder &builder, mlir::Value matrix);

/// What a value is with these tensors given: what the branches that are chosen then yield for it.
mlir::Value chosenValue(FormOp form, mlir::Value value, llvm::function_ref<bool(llvm::StringRef)> isGiven);
/// The op that makes what a form yields, where the given roles are there; null where an operand decides.
mlir::Operation *yieldedBy(FormOp form, llvm::function_ref<bool(llvm::StringRef)> isGiven);

} // namespace adapter

#endif // ADAPTER_DIALECTS_ADAPTER_IR_FORMINSTANCE_H
