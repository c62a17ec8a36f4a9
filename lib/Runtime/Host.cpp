// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The host table; see Host.h.
#include "lib/Runtime/Host.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Text.h"
#include <new>

namespace adapter::runtime {

int64_t Output::elements() const {
  int64_t product = 1;
  for (int64_t dim : dims)
    product *= dim;
  return product;
}

namespace {

struct CallState {
  Resources &resources;
  Arena arena;
  Listener listener;
  std::mutex mutex; // of what follows
  std::vector<Output> outputs;
  std::string failure;
  bool outOfMemory = false;

  void fail(std::string message) {
    std::lock_guard<std::mutex> lock(mutex);
    if (failure.empty())
      failure = std::move(message);
  }
  void *output(int32_t index, int32_t rank, const int64_t *dims) {
    std::lock_guard<std::mutex> lock(mutex);
    if (index < 0 || index >= static_cast<int64_t>(outputs.size()) || rank < 0 || rank > ADAPTER_MAX_RANK ||
        outputs[index].data)
      return nullptr;
    Output &output = outputs[index];
    output.dims.assign(dims, dims + rank);
    std::optional<size_t> bytes =
        checkpoint::tensorBytes(static_cast<checkpoint::DType>(output.dtype), output.dims);
    if (!bytes)
      return nullptr;
    output.data = takeShared(resources.cache, static_cast<int64_t>(*bytes));
    outOfMemory |= !output.data;
    return output.data.get();
  }
};

// Compiled code has no exceptions: whatever happens in here ends in a null pointer.
void *hostOutput(void *state, int32_t index, int32_t rank, const int64_t *dims) {
  try {
    return static_cast<CallState *>(state)->output(index, rank, dims);
  } catch (...) {
    return nullptr;
  }
}

void hostFail(void *state, const char *message, const int64_t *values, int32_t count) {
  try {
    static_cast<CallState *>(state)->fail(checkpoint::putIn(message ? message : "", values, count));
  } catch (...) {
    // Without memory for the message the call still fails, by its return value.
  }
}

void *hostAllocate(void *state, int64_t bytes) {
  auto *call = static_cast<CallState *>(state);
  void *memory = call->arena.allocate(bytes);
  if (!memory) {
    std::lock_guard<std::mutex> lock(call->mutex);
    call->outOfMemory = true;
  }
  return memory;
}

void hostRelease(void *state, void *memory) { static_cast<CallState *>(state)->arena.release(memory); }

void hostRouted(void *state, int32_t layer, int64_t tokens, int64_t top, const int64_t *ids) {
  const Listener &listener = static_cast<CallState *>(state)->listener;
  listener.routed(listener.context, layer, tokens, top, ids);
}

void hostParallelFor(void *state, adapter_loop_body_v1 body, void *context, int64_t count, int64_t grain) {
  static_cast<CallState *>(state)->resources.pool.parallelFor(body, context, count, grain);
}

} // namespace

Result<std::vector<Output>> invoke(Resources &resources, adapter_function_v1 function, adapter_call_v1 call,
                                   const std::vector<int32_t> &dtypes, const Surroundings &surroundings) {
  CallState state{resources, Arena(*resources.cache), surroundings.listener, {}, {}, {}};
  state.outputs.resize(dtypes.size());
  for (size_t i = 0; i < dtypes.size(); ++i)
    state.outputs[i].dtype = dtypes[i];
  adapter_host_v1 host = {sizeof(adapter_host_v1),
                          ADAPTER_ABI_VERSION,
                          &state,
                          hostParallelFor,
                          hostAllocate,
                          hostRelease,
                          hostOutput,
                          hostFail,
                          surroundings.device,
                          surroundings.collectives,
                          surroundings.listener.routed ? hostRouted : nullptr};
  call.host = &host;
  if (function(&call) != 0) {
    if (state.failure.empty() && state.outOfMemory)
      throw std::bad_alloc();
    return Error{state.failure.empty() ? "the compiled code failed and gave no reason" : state.failure};
  }
  for (size_t i = 0; i < state.outputs.size(); ++i)
    if (!state.outputs[i].data)
      return Error{"the compiled code did not write its output " + std::to_string(i)};
  return std::move(state.outputs);
}

} // namespace adapter::runtime
