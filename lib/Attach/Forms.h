// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Updates that checkpoints hold as ops of the dialect, and where they fit.
#ifndef ADAPTER_LIB_ATTACH_FORMS_H
#define ADAPTER_LIB_ATTACH_FORMS_H

#include "lib/Attach/ModuleTable.h"
#include "lib/Checkpoint/Adapter.h"
#include "lib/Forms/FormTraits.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace adapter {

/// Why an update cannot act on a parameter, with the shapes that disagree; "" where it can.
std::string whyUnfit(const checkpoint::Update &update, const ModuleParameter &parameter);

/// Why there is not evidence enough that a tensor is the parameter that an update of this form acts on, and what would
/// be; "" where there is. `name` is what the checkpoint calls the parameter.
std::string whyUncertain(const FormTraits &traits, llvm::StringRef name, const ModuleParameter &parameter,
                         Evidence evidence);

/// Whether a slot has room for updates of one of its forms at a parameter.
bool hasRoom(llvm::StringRef form, const ModuleParameter &parameter);

/// Whether a whole tensor is what the graph has already. Adapters save embeddings along that they did not
/// change.
bool changesNothing(const checkpoint::Update &update, const ModuleParameter &parameter);

/// Whether two parameters, tables or linears' weights, hold the same numbers: tied at export.
bool holdSameNumbers(const ModuleParameter &first, const ModuleParameter &second);

/// The key of an update's tensor in the scope of its adapter.
std::string tensorKey(const checkpoint::Update &update, llvm::StringRef role);

/// The update as ops over `adapter.parameter "<scope>"::"<key>"`, of the type and layout of the graph's
/// tensor. The tensors are bound in the context's store. `scale` multiplies the update's own. `weight` is the weight beside a bias
/// that a form makes.
mlir::Value buildUpdate(mlir::ImplicitLocOpBuilder &builder, const checkpoint::Update &update,
                        const ModuleParameter &parameter, llvm::StringRef scope, double scale,
                        const ModuleParameter *weight = nullptr);

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_FORMS_H
