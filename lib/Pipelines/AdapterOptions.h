// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// --adapter NAME=PATH[@TIME][:scale=S].
#ifndef ADAPTER_LIB_PIPELINES_ADAPTEROPTIONS_H
#define ADAPTER_LIB_PIPELINES_ADAPTEROPTIONS_H

#include "lib/Attach/Attach.h"
#include "lib/Checkpoint/Result.h"

namespace adapter {

/// Parses the values of --adapter. Suffixes are read from the right, and only if they are exactly these;
/// anything else belongs to the path. A message is about wrong usage.
checkpoint::Result<std::vector<AdapterRequest>> parseAdapters(const std::vector<std::string> &values);

} // namespace adapter

#endif // ADAPTER_LIB_PIPELINES_ADAPTEROPTIONS_H
