// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The steps of an adapter's entry, see adapter-rt/artifact.h, out of what a form's function wrote.
#ifndef ADAPTER_LIB_RUNTIME_STEPS_H
#define ADAPTER_LIB_RUNTIME_STEPS_H

#include "adapter-rt/artifact.h"
#include "lib/Artifact/manifest.pb.h"
#include <memory>
#include <string>
#include <vector>

namespace adapter::runtime {

struct EntrySizes;
struct Output;

// Element types of the outputs behind those that are the entry's tensors: what steps read, then their extents. None
// where the form has no steps.
std::vector<int32_t> stepOutputs(const artifact::SiteForm &form);

// What is wrong with a form's steps, or an empty text.
std::string checkSteps(const artifact::SiteForm &form);

// Puts what steps read one behind the other, and their table beside it, into an entry that has none.
void addSteps(const artifact::SiteForm &form, const std::vector<Output> &outputs, adapter_entry_v1 &entry,
              EntrySizes &sizes, std::vector<std::shared_ptr<void>> &owners);

} // namespace adapter::runtime

#endif // ADAPTER_LIB_RUNTIME_STEPS_H
