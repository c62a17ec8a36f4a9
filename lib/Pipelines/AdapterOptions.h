// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// --adapter [NAME=]PATH[@TIME][:scale=S|:scale=@call], --adapter-slot NAME:FORM[+FORM...][,rank=R]
// [,modules=GLOB...][@TIME], --combine NAME=METHOD:ADAPTER[=WEIGHT],...[,SETTING=VALUE...][@TIME][:scale=..],
// --bind NAME.PROPERTY@call.
#ifndef ADAPTER_LIB_PIPELINES_ADAPTEROPTIONS_H
#define ADAPTER_LIB_PIPELINES_ADAPTEROPTIONS_H

#include "lib/Attach/Attach.h"
#include "lib/Checkpoint/Result.h"
#include "lib/Diff/Combine.h"

namespace adapter {

/// The values of the options, as they stand on the command line.
struct AdapterTexts {
  std::vector<std::string> adapters, combinations, slots, bindings;
};

/// An adapter that is made of others.
struct CombinationRequest {
  std::string name; ///< of the request in AdapterOptions::adapters, which has no contents yet
  diff::Combination how;
  std::vector<diff::Part> parts;
  std::vector<std::string> names; ///< of the parts
};

struct AdapterOptions {
  std::vector<AdapterRequest> adapters; ///< those that others are made of left out
  std::vector<CombinationRequest> combinations;
  std::vector<SlotRequest> slots;
};

/// Parses the options. Suffixes of --adapter are read from the right, in either order; anything else belongs to the path,
/// which must exist then. Without a name the folder's is taken. A message is about wrong usage.
checkpoint::Result<AdapterOptions> parseAdapterOptions(const AdapterTexts &texts);

} // namespace adapter

#endif // ADAPTER_LIB_PIPELINES_ADAPTEROPTIONS_H
