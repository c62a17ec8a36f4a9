// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What --check ends with: how many modules of each adapter have a place, and, where none has, what the adapter and the
// graph seem to be of.
#ifndef ADAPTER_LIB_ATTACH_VERDICT_H
#define ADAPTER_LIB_ATTACH_VERDICT_H

#include "lib/Attach/Attach.h"
#include "lib/Attach/Plan.h"
#include <set>

namespace adapter {

/// Paths of modules with '*' for the numbers in them.
std::string patternOfModule(llvm::StringRef path);

/// The family of models that has such modules, as people call it: "BERT"; "" where none is known.
std::string familyOf(const std::set<std::string> &patterns);

/// The verdict about an adapter of which some updates are placed, and others left over.
AdapterVerdict judge(const LoadedAdapter &adapter, const AttachPlan &plan, const AttachReport &report);

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_VERDICT_H
