// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Adapters that take a part of the weight away before they add their own (PiSSA, OLoRA, KaSA, OSF): with the weight's
// numbers at hand they are products of more directions.
#ifndef ADAPTER_LIB_ATTACH_BASETERM_H
#define ADAPTER_LIB_ATTACH_BASETERM_H

#include "lib/Attach/ModuleTable.h"
#include "lib/Checkpoint/Adapter.h"

namespace adapter {

/// Puts what an update takes away from `size` outputs of a linear's weight, from `offset` on, into its factors. An error
/// where the graph does not hold the weight's numbers, and where singular values at the cut are so close that their
/// order is not certain.
checkpoint::Status takeFromBase(checkpoint::Update &update, const ModuleParameter &parameter, int64_t offset,
                                int64_t size);

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_BASETERM_H
