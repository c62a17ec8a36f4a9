// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which sites of an artifact a checkpoint's updates are about: the rules of attaching, for adapters that arrive later.
#ifndef ADAPTER_LIB_RUNTIME_SITEMATCH_H
#define ADAPTER_LIB_RUNTIME_SITEMATCH_H

#include "lib/Runtime/Sources.h"

namespace adapter::runtime {

// Sites by update, in the order of the updates; an error, for an update alone, where it has none or where several could
// be meant. `among` are the sites that the adapter may use.
std::vector<Result<std::vector<int>>> matchSites(const Artifact &artifact, const std::vector<int> &among,
                                                 const std::vector<checkpoint::Update> &updates,
                                                 const std::string &where);

} // namespace adapter::runtime

#endif // ADAPTER_LIB_RUNTIME_SITEMATCH_H
