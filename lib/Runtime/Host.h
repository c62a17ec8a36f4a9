// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The host's side of one call of compiled code: memory, threads, outputs, the reason of a failure.
#ifndef ADAPTER_LIB_RUNTIME_HOST_H
#define ADAPTER_LIB_RUNTIME_HOST_H

#include "adapter-rt/artifact.h"
#include "lib/Checkpoint/Result.h"
#include "lib/Runtime/Memory.h"
#include "lib/Runtime/ThreadPool.h"
#include <string>
#include <vector>

namespace adapter::runtime {

using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;

// An output of compiled code.
struct Output {
  std::shared_ptr<void> data;
  std::vector<int64_t> dims;
  int32_t dtype = 0;

  int64_t elements() const;
};

// What all calls of a model share.
struct Resources {
  Resources(int threads, int64_t limit) : cache(std::make_shared<BlockCache>(limit)), pool(threads) {}
  std::shared_ptr<BlockCache> cache;
  ThreadPool pool;
};

// Who is told what experts were chosen; see adapter_rt_call_options.
struct Listener {
  void (*routed)(void *context, int32_t layer, int64_t tokens, int64_t top, const int64_t *experts) = nullptr;
  void *context = nullptr;
};

// What some functions need beside memory and threads.
struct Surroundings {
  const adapter_device_v1 *device = nullptr;
  const adapter_collectives_v1 *collectives = nullptr;
  Listener listener;
};

// Runs one function of an artifact. `dtypes` are those of its outputs, whose bytes are allocated by them.
Result<std::vector<Output>> invoke(Resources &resources, adapter_function_v1 function, adapter_call_v1 call,
                                   const std::vector<int32_t> &dtypes, const Surroundings &surroundings = {});

} // namespace adapter::runtime

#endif // ADAPTER_LIB_RUNTIME_HOST_H
