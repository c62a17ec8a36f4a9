// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// --partition-experts ranks=N[,profile=FILE].
#ifndef ADAPTER_LIB_PIPELINES_PARTITIONOPTIONS_H
#define ADAPTER_LIB_PIPELINES_PARTITIONOPTIONS_H

#include "lib/Checkpoint/Result.h"
#include <string>

namespace adapter {

struct PartitionOptions {
  int64_t ranks = 0;   ///< processes that share the experts; 0: they are not partitioned
  std::string profile; ///< what `adapter-run profile` wrote; empty: none
  bool plan = false;   ///< print how good the placement is
};

/// A message is about wrong usage.
checkpoint::Result<PartitionOptions> parsePartitionOptions(const std::string &text);

} // namespace adapter

#endif // ADAPTER_LIB_PIPELINES_PARTITIONOPTIONS_H
