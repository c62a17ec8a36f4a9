// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How large an update is beside the weight that it changes, for reports.
#ifndef ADAPTER_LIB_ATTACH_NORMS_H
#define ADAPTER_LIB_ATTACH_NORMS_H

#include "lib/Attach/ModuleTable.h"
#include "lib/Checkpoint/Adapter.h"
#include <optional>

namespace adapter {

/// The Frobenius norm of a parameter; nothing where the graph holds no floats for it.
std::optional<double> weightNorm(const ModuleParameter &parameter);

/// That of what an update adds to the parameter, without the factor that the command line gives. Nothing for forms whose
/// change is no sum of what the adapter holds (DoRA, masks, mixtures).
std::optional<double> updateNorm(const checkpoint::Update &update, const ModuleParameter &parameter);

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_NORMS_H
