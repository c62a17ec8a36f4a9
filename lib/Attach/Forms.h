// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The forms of updates that checkpoints hold, each as ops of the dialect.
#ifndef ADAPTER_LIB_ATTACH_FORMS_H
#define ADAPTER_LIB_ATTACH_FORMS_H

#include "lib/Attach/ModuleTable.h"
#include "lib/Checkpoint/Adapter.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace adapter {

/// Why an update cannot act on a parameter, with the shapes that disagree; "" where it can.
std::string whyUnfit(const checkpoint::Update &update, const ModuleParameter &parameter);

/// Why there is not evidence enough that a tensor is the parameter that an update of this form acts on, and what would
/// be; "" where there is.
std::string whyUncertain(const checkpoint::Update &update, const ModuleParameter &parameter,
                         Evidence evidence);

/// Whether a slot has room for updates of this form at a parameter.
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
