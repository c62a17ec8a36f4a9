// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the files of the C API share: its handles, and how failures become statuses.
#ifndef ADAPTER_LIB_RUNTIME_APIGUARD_H
#define ADAPTER_LIB_RUNTIME_APIGUARD_H

#include "adapter-rt/runtime.h"
#include "lib/Runtime/Model.h"
#include <exception>
#include <new>

struct adapter_rt_model {
  std::unique_ptr<adapter::runtime::Model> model;
};

struct adapter_rt_result {
  adapter::runtime::CallResult result;
};

namespace adapter::runtime {

// Keeps the message for adapter_rt_last_error; returns the status.
adapter_rt_status fail(adapter_rt_status status, const char *message);

// Runs `function`, which returns a Status, and keeps every exception on this side of the interface.
template <typename Function>
adapter_rt_status guard(Function function) {
  try {
    Status status = function();
    return status ? ADAPTER_RT_OK : fail(ADAPTER_RT_INVALID, status.error().message.c_str());
  } catch (const std::bad_alloc &) {
    return fail(ADAPTER_RT_OUT_OF_MEMORY, "out of memory, or over the memory limit");
  } catch (const std::exception &exception) {
    return fail(ADAPTER_RT_INTERNAL, exception.what());
  } catch (...) {
    return fail(ADAPTER_RT_INTERNAL, "unknown exception");
  }
}

// The arguments of a call; views into what the caller holds.
Status readRequest(const adapter_rt_tensor *inputs, size_t count, const adapter_rt_call_options *options,
                   CallRequest &request);

} // namespace adapter::runtime

#endif // ADAPTER_LIB_RUNTIME_APIGUARD_H
