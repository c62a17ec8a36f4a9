// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The load and switch functions of forms that are definitions: all of them follow from the form's body.
#ifndef ADAPTER_LIB_COMPILE_DEFINEDFORM_H
#define ADAPTER_LIB_COMPILE_DEFINEDFORM_H

#include "dialects/Adapter/IR/AdapterOps.h"
#include "lib/Compile/FormFunctions.h"
#include "mlir/IR/BuiltinOps.h"
#include <set>

namespace adapter {

/// A form at one kind of site with given optional tensors.
struct DefinedForm {
  FormOp form;
  std::set<std::string> roles;
  SiteKind kind;
  bool storedTransposed; ///< a whole tensor of a linear is [in, out]
  int64_t rank;          ///< dimensions of a vector
  bool ofBias;           ///< what the form makes of the bias
};

/// How its tensors come in: those of the form that are given, in its order.
std::vector<std::string> roleOrder(const DefinedForm &use);

/// What the code that reads entries takes.
struct Packing {
  int64_t block, rankBlock; ///< widths of packed tensors
  bool takesSteps;
};

/// Adds a function over (parameter as stored, tensors.., scalars f64 [n], symbols i64 [m]) that makes the parameter with
/// the update, stored alike.
///
/// Where the bias that a form makes depends on the weight beside it, that follows the parameter, as it is stored.
void addMaterialize(mlir::ModuleOp module, const DefinedForm &use, Packing packing, llvm::StringRef name);

/// The same that makes the tensors of an adapter_entry_v1, and what they are in it. Where the update has no factored
/// shape that the code takes, the one tensor is the whole parameter.
void addPrepare(mlir::ModuleOp module, const DefinedForm &use, Packing packing, llvm::StringRef name,
                EntryShape &entry);

/// Whether `use` is of a bias that depends on the weight beside it.
bool readsWeightBeside(const DefinedForm &use);

/// Whether the update changes few elements, so that functions over (weights, pristine, tensors.., scalars, symbols) can
/// change them in place and bring them back.
bool changesFew(const DefinedForm &use);
void addTouch(mlir::ModuleOp module, const DefinedForm &use, Packing packing, llvm::StringRef name,
              bool restores);

} // namespace adapter

#endif // ADAPTER_LIB_COMPILE_DEFINEDFORM_H
