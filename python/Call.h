// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One call of a model from Python, which Ctrl-C may interrupt.
#ifndef ADAPTER_PYTHON_CALL_H
#define ADAPTER_PYTHON_CALL_H

#include "adapter-rt/runtime.h"
#include <condition_variable>
#include <memory>
#include <mutex>
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace adapter::python {

using Input = nanobind::ndarray<nanobind::ro, nanobind::c_contig, nanobind::device::cpu>;

/// NumPy has no bfloat16: its bits come as uint16.
nanobind::dlpack::dtype dlpackType(int32_t onnx);

/// Raises what Python has for a status.
void check(adapter_rt_status status, const std::string &message);
/// The same with the message of the thread that got the status, this one.
void check(adapter_rt_status status);

inline const char *orNull(const std::optional<std::string> &text) { return text ? text->c_str() : nullptr; }

/// Everything that a call reads and writes, which lives until the runtime is done with it.
struct Call {
  std::shared_ptr<adapter_rt_model> model;
  std::vector<std::pair<std::string, Input>> inputs;
  std::optional<std::string> entry, adapter;
  std::optional<std::vector<std::optional<std::string>>> rowAdapters;
  std::vector<std::pair<std::string, double>> settings;
  size_t tokens = 0;
  // Of a session's call.
  std::shared_ptr<adapter_rt_session> session; // null: the model's own
  std::vector<int64_t> rows;
  std::optional<std::vector<int64_t>> lengths;

  adapter_rt_result *result = nullptr;
  adapter_rt_status status = ADAPTER_RT_OK;
  std::string message;

  std::mutex mutex;
  std::condition_variable isOver;
  bool over = false;

  ~Call() {
    if (result)
      adapter_rt_result_free(result);
  }
  void run();
  size_t bytes() const;
};

/// Runs a call in a thread of its own and waits for it, or for Ctrl-C; the call ends in the background then.
void runInterruptibly(const std::shared_ptr<Call> &call);
/// Gives back what interrupted calls hold that are over.
void forgetInterrupted();

} // namespace adapter::python

#endif // ADAPTER_PYTHON_CALL_H
