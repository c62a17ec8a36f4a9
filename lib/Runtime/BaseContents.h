// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a site's parameter holds without any adapter, in terms of checkpoints.
#ifndef ADAPTER_LIB_RUNTIME_BASECONTENTS_H
#define ADAPTER_LIB_RUNTIME_BASECONTENTS_H

#include "lib/Runtime/Sources.h"

namespace adapter::runtime {

// Whether these sites' parameters hold already, bit for bit, what the update puts there. PEFT saves the whole weight
// of an embedding or an output layer beside its low-rank update, and mostly it is the base's. False for updates other
// than a replacement, and where the shape or the type differs.
Result<bool> changesNothing(const Artifact &artifact, const checkpoint::Update &update,
                            const std::vector<int> &sites);

} // namespace adapter::runtime

#endif // ADAPTER_LIB_RUNTIME_BASECONTENTS_H
