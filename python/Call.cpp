// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Call.h.
#include "python/Call.h"
#include "python/Released.h"
#include <algorithm>
#include <chrono>
#include <thread>

namespace nb = nanobind;
using namespace adapter;
using namespace adapter::python;

namespace {
struct Type {
  int32_t onnx;
  nb::dlpack::dtype_code code;
  uint8_t bits;
};
constexpr Type types[] = {
    {1, nb::dlpack::dtype_code::Float, 32},    {2, nb::dlpack::dtype_code::UInt, 8},
    {3, nb::dlpack::dtype_code::Int, 8},       {4, nb::dlpack::dtype_code::UInt, 16},
    {5, nb::dlpack::dtype_code::Int, 16},      {6, nb::dlpack::dtype_code::Int, 32},
    {7, nb::dlpack::dtype_code::Int, 64},      {9, nb::dlpack::dtype_code::Bool, 8},
    {10, nb::dlpack::dtype_code::Float, 16},   {11, nb::dlpack::dtype_code::Float, 64},
    {12, nb::dlpack::dtype_code::UInt, 32},    {13, nb::dlpack::dtype_code::UInt, 64},
    {14, nb::dlpack::dtype_code::Complex, 64}, {15, nb::dlpack::dtype_code::Complex, 128},
    {16, nb::dlpack::dtype_code::Bfloat, 16},
};
} // namespace

static int32_t onnxType(const nb::dlpack::dtype &dtype) {
  for (const Type &type : types)
    if (static_cast<uint8_t>(type.code) == dtype.code && type.bits == dtype.bits && dtype.lanes == 1)
      return type.onnx;
  return 0;
}

nb::dlpack::dtype python::dlpackType(int32_t onnx) {
  for (const Type &type : types)
    if (type.onnx == onnx && onnx != 16)
      return {static_cast<uint8_t>(type.code), type.bits, 1};
  uint8_t bits = onnx == 16 ? 16 : 8;
  return {static_cast<uint8_t>(nb::dlpack::dtype_code::UInt), bits, 1};
}

void python::check(adapter_rt_status status, const std::string &message) {
  if (status == ADAPTER_RT_OK)
    return;
  if (status == ADAPTER_RT_INVALID)
    throw nb::value_error(message.c_str());
  PyErr_SetString(status == ADAPTER_RT_OUT_OF_MEMORY ? PyExc_MemoryError : PyExc_RuntimeError,
                  message.c_str());
  throw nb::python_error();
}

void python::check(adapter_rt_status status) {
  check(status, status == ADAPTER_RT_OK ? "" : adapter_rt_last_error());
}

size_t Call::bytes() const {
  size_t all = 0;
  for (const auto &[name, array] : inputs)
    all += array.nbytes();
  return all;
}

void Call::run() {
  std::vector<adapter_rt_tensor> views;
  std::vector<std::vector<int64_t>> dims;
  for (const auto &[name, array] : inputs) {
    std::vector<int64_t> &shape = dims.emplace_back();
    for (size_t i = 0; i < array.ndim(); ++i)
      shape.push_back(static_cast<int64_t>(array.shape(i)));
    views.push_back(
        {name.c_str(), array.data(), nullptr, static_cast<int32_t>(shape.size()), onnxType(array.dtype())});
  }
  for (size_t i = 0; i < views.size(); ++i)
    views[i].dims = dims[i].data();
  adapter_rt_call_options options = {};
  options.struct_size = sizeof options;
  options.entry = orNull(entry);
  options.adapter = orNull(adapter);
  std::vector<const char *> named;
  if (rowAdapters) {
    for (const auto &name : *rowAdapters)
      named.push_back(orNull(name));
    named.reserve(1); // an empty list is one, too
    options.row_adapters = named.data();
    options.row_count = named.size();
    options.token_count = tokens;
  }
  std::vector<adapter_rt_setting> values;
  for (const auto &[property, value] : settings)
    values.push_back({property.c_str(), value});
  options.settings = values.data();
  options.setting_count = values.size();
  adapter_rt_status got =
      session ? adapter_rt_session_call(session.get(), rows.data(), lengths ? lengths->data() : nullptr,
                                        rows.size(), views.data(), views.size(), &options, &result)
              : adapter_rt_call(model.get(), views.data(), views.size(), &options, &result);
  std::lock_guard<std::mutex> lock(mutex);
  status = got;
  if (got != ADAPTER_RT_OK)
    message = adapter_rt_last_error();
  over = true;
  isOver.notify_all();
}

// Calls that were interrupted and are not over yet. Their arrays are Python's, and are given back by a thread of Python.
static std::vector<std::shared_ptr<Call>> &interrupted() {
  static auto *all = new std::vector<std::shared_ptr<Call>>;
  return *all;
}

void python::forgetInterrupted() {
  auto isOver = [](const std::shared_ptr<Call> &call) {
    std::lock_guard<std::mutex> lock(call->mutex);
    return call->over;
  };
  std::vector<std::shared_ptr<Call>> &calls = interrupted();
  calls.erase(std::remove_if(calls.begin(), calls.end(), isOver), calls.end());
}

void python::runInterruptibly(const std::shared_ptr<Call> &call) {
  // No reference: the last one gives arrays back to Python, which this thread must not. Whoever has one keeps it until
  // the call is over.
  std::thread([call = call.get()] { call->run(); }).detach();
  while (true) {
    {
      Released scope;
      std::unique_lock<std::mutex> lock(call->mutex);
      if (call->isOver.wait_for(lock, std::chrono::milliseconds(20), [&] { return call->over; }))
        return;
    }
    if (PyErr_CheckSignals() != 0) {
      interrupted().push_back(call);
      throw nb::python_error();
    }
  }
}
