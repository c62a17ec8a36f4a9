// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Turns adapters into what calls use, by the artifact's own functions: entries of banks, updated parameters.
#ifndef ADAPTER_LIB_RUNTIME_REALISE_H
#define ADAPTER_LIB_RUNTIME_REALISE_H

#include "lib/Runtime/Sources.h"

namespace adapter::runtime {

// A row- or call-bound adapter.
// Elements of an entry's tensors, and which of them are int64 rather than f32.
struct EntrySizes {
  int64_t elements[ADAPTER_ENTRY_TENSORS] = {};
  bool integers[ADAPTER_ENTRY_TENSORS] = {};
};

struct Prepared {
  std::map<int, adapter_entry_v1> entries; // by bank
  std::map<int, EntrySizes> sizes;
  std::vector<std::shared_ptr<void>> owners;
};
Result<Prepared> prepare(const Artifact &artifact, Resources &resources, const Source &source, double factor);

// A switch-bound adapter: updated parameters by row of the parameter table.
using Materialised = std::map<int, std::shared_ptr<void>>;
Result<Materialised> materialise(const Artifact &artifact, Resources &resources, const Source &source,
                                 double factor);

} // namespace adapter::runtime

#endif // ADAPTER_LIB_RUNTIME_REALISE_H
