// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// --adapter [NAME=]PATH[@TIME][:scale=S|:scale=@call], --adapter-slot NAME:FORM[+FORM...][,rank=R]
// [,modules=GLOB...][@TIME], --bind NAME.PROPERTY@call.
#ifndef ADAPTER_LIB_PIPELINES_ADAPTEROPTIONS_H
#define ADAPTER_LIB_PIPELINES_ADAPTEROPTIONS_H

#include "lib/Attach/Attach.h"
#include "lib/Checkpoint/Result.h"

namespace adapter {

/// The values of the options, as they stand on the command line.
struct AdapterTexts {
  std::vector<std::string> adapters, slots, bindings;
};

struct AdapterOptions {
  std::vector<AdapterRequest> adapters;
  std::vector<SlotRequest> slots;
};

/// Parses the options. Suffixes of --adapter are read from the right, in either order; anything else belongs to the path,
/// which must exist then. Without a name the folder's is taken. A message is about wrong usage.
checkpoint::Result<AdapterOptions> parseAdapterOptions(const AdapterTexts &texts);

} // namespace adapter

#endif // ADAPTER_LIB_PIPELINES_ADAPTEROPTIONS_H
