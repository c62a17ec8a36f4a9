// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Forms that are definitions (lib/Forms), at the parameters of a graph.
#ifndef ADAPTER_LIB_ATTACH_FORMUSE_H
#define ADAPTER_LIB_ATTACH_FORMUSE_H

#include "lib/Attach/ModuleTable.h"
#include "lib/Checkpoint/Adapter.h"
#include "lib/Forms/FormTraits.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace adapter {

/// A parameter as a form's signature sees it for an update: of a whole tensor the shape says how it is stored, unless it is
/// square.
forms::Place placeOf(const ModuleParameter &parameter, const checkpoint::Update &update);

/// The definition of an update's form at a parameter; null where the form is none.
FormOp definitionOf(const checkpoint::Update &update, const ModuleParameter &parameter);
/// What is known of it there.
FormTraits traitsOf(const checkpoint::Update &update, const ModuleParameter &parameter);

/// The tensors of an update as its form knows them: masked ones as what they are mixed to.
std::set<std::string> rolesOf(const checkpoint::Update &update);

/// The shapes of an update's tensors as its form asks for them.
std::map<std::string, forms::Given> givenBy(const checkpoint::Update &update);

/// The symbols of a form for an update at a parameter, or why it does not fit there.
checkpoint::Result<forms::Symbols> bindSymbols(FormOp form, const checkpoint::Update &update,
                                               const ModuleParameter &parameter);

/// Why a form's tensors do not fit there; "" where they do.
std::string whyFormUnfit(FormOp form, const checkpoint::Update &update, const ModuleParameter &parameter);

/// The update as an adapter.apply, of the type and layout of the graph's tensor. `tensor` makes a role's value.
/// `weight` is that beside `parameter`, where that is a bias that the form makes; else null.
mlir::Value
buildApply(mlir::ImplicitLocOpBuilder &builder, FormOp form, const checkpoint::Update &update,
           const ModuleParameter &parameter, const ModuleParameter *weight, double scale,
           llvm::function_ref<mlir::Value(llvm::StringRef role, const checkpoint::Tensor *contents)> tensor);

/// What a form with an update's tensors is called at sites; the form's name where it is not a definition.
std::string labelOf(const checkpoint::Update &update, const ModuleParameter &parameter);
/// The same of all that a slot for the form takes at a parameter; `form` may name variants ("lora+dora").
std::vector<std::string> labelsOf(llvm::StringRef form, const ModuleParameter &parameter);
/// Makes the tensors that follow from the weight's size.
checkpoint::Status complete(checkpoint::Update &update, const ModuleParameter &parameter);
/// The definition that a slot's form has at a parameter, or, of a bias, at the weight beside it; null where none.
FormOp definitionAt(llvm::StringRef form, const ModuleParameter &parameter);
/// What is known of it with the tensors of the variants that `form` names.
FormTraits traitsAt(llvm::StringRef form, const ModuleParameter &parameter);
/// The update with its tensors in the dimensions that a form's body wants; `weight` is what it acts on or beside.
checkpoint::Update delivered(const checkpoint::Update &update, const ModuleParameter &weight);

/// Coordinates in a vector that has several dimensions in the graph, as indices into its elements in
/// order; nothing where they are that already.
checkpoint::Result<std::optional<checkpoint::Update>> flattened(const checkpoint::Update &update,
                                                                const ModuleParameter &parameter);

/// Whether the bias that a form makes of an update's tensors depends on the weight beside it.
bool biasReadsWeight(FormOp form, const checkpoint::Update &update);

/// Whether what a form makes of a bias is nothing where there is none.
bool keepsNoBias(const checkpoint::Update &update, mlir::MLIRContext *context);

/// Places the tensors of an adapter whose form is its user's own.
checkpoint::Status placeOwnForm(checkpoint::Adapter &adapter, mlir::MLIRContext *context);

/// Adds to an adapter what its forms make of biases, as updates of their own behind those of the weights.
void addBiasUpdates(checkpoint::Adapter &adapter, mlir::MLIRContext *context);

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_FORMUSE_H
