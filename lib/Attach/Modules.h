// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Modules that act on activations: whether they fit a residual sum, and the ops that they are.
#ifndef ADAPTER_LIB_ATTACH_MODULES_H
#define ADAPTER_LIB_ATTACH_MODULES_H

#include "lib/Attach/Plan.h"

namespace adapter {

/// Why a module cannot stand at a sum, together with those that `planned` has already; "" where it can.
std::string whyModuleUnfit(const PlannedUpdate &update, const PlannedModules &planned);

/// Makes the site of a module that comes after the build.
using MakeSite = llvm::function_ref<SiteOp(llvm::ArrayRef<const PlannedUpdate *> updates, BindingTime time)>;

/// Puts the modules of one sum into the graph: those known at build as adapter.bottleneck, in the order given, then
/// one adapter.act for each placement and time.
void attachModules(PlannedModules &planned, MakeSite makeSite);

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_MODULES_H
