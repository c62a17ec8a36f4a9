// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The C API: turns exceptions and Results into statuses and messages.
#include "adapter-rt/runtime.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Runtime/ApiGuard.h"
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>

using namespace adapter::runtime;
namespace checkpoint = adapter::checkpoint;

namespace {

thread_local std::string lastError;

char *duplicate(const std::string &text) {
  auto *copy = static_cast<char *>(std::malloc(text.size() + 1));
  if (!copy)
    throw std::bad_alloc();
  std::memcpy(copy, text.c_str(), text.size() + 1);
  return copy;
}

std::string dump(const checkpoint::Json &json) {
  return json.dump(2, ' ', false, checkpoint::Json::error_handler_t::replace);
}

} // namespace

adapter_rt_status adapter::runtime::fail(adapter_rt_status status, const char *message) {
  try {
    lastError = message;
  } catch (...) {
    lastError.clear();
  }
  return status;
}

Status adapter::runtime::readRequest(const adapter_rt_tensor *inputs, size_t count,
                                     const adapter_rt_call_options *options, CallRequest &request) {
  if (count && !inputs)
    return Error{"inputs is NULL"};
  for (size_t i = 0; i < count; ++i) {
    const adapter_rt_tensor &input = inputs[i];
    if (!input.name || input.rank < 0 || input.rank > ADAPTER_MAX_RANK || (input.rank && !input.dims))
      return Error{"input " + std::to_string(i) + " has no name, or a rank that is not in 0 to 8"};
    Tensor tensor;
    tensor.dtype = static_cast<checkpoint::DType>(input.dtype);
    if (input.rank)
      tensor.shape.assign(input.dims, input.dims + input.rank);
    tensor.data = static_cast<const std::byte *>(input.data);
    std::optional<size_t> bytes = checkpoint::tensorBytes(tensor.dtype, tensor.shape);
    if (bytes && *bytes && !input.data)
      return Error{"input '" + std::string(input.name) + "' has no data"};
    tensor.bytes = bytes.value_or(0);
    request.inputs.emplace_back(input.name, std::move(tensor));
  }
  if (!options)
    return Done{};
  // Callers that were compiled before the last fields came are welcome.
  if (options->struct_size < offsetof(adapter_rt_call_options, routed))
    return Error{"options->struct_size is too small"};
  if (options->struct_size >= sizeof(adapter_rt_call_options))
    request.listener = {options->routed, options->routed_context};
  if (options->entry)
    request.entry = options->entry;
  if (options->adapter) {
    Result<Mix> mix = readMix(options->adapter);
    if (!mix)
      return mix.error();
    request.adapter = std::move(*mix);
  }
  if (options->row_adapters) {
    request.rowAdapters.emplace();
    for (size_t i = 0; i < options->row_count; ++i) {
      Result<Mix> mix = readMix(options->row_adapters[i] ? options->row_adapters[i] : "");
      if (!mix)
        return mix.error();
      request.rowAdapters->push_back(std::move(*mix));
    }
  }
  if (options->token_count && (!options->row_adapters || options->row_count % options->token_count))
    return Error{"options->token_count does not divide options->row_count"};
  request.tokens = static_cast<int64_t>(options->token_count);
  if (options->setting_count && !options->settings)
    return Error{"options->settings is NULL"};
  for (size_t i = 0; i < options->setting_count; ++i) {
    if (!options->settings[i].property)
      return Error{"a setting has no property"};
    request.settings.emplace_back(options->settings[i].property, options->settings[i].value);
  }
  return Done{};
}

extern "C" {

const char *adapter_rt_last_error(void) { return lastError.c_str(); }

adapter_rt_status adapter_rt_open(const char *path, const adapter_rt_open_options *options,
                                  adapter_rt_model **model) {
  return guard([&]() -> Status {
    if (!path || !model)
      return Error{"path or model is NULL"};
    *model = nullptr;
    if (options && options->struct_size < offsetof(adapter_rt_open_options, collectives))
      return Error{"options->struct_size is too small"};
    // Callers that were compiled before the last fields came are welcome.
    uint32_t size = options ? options->struct_size : 0;
    const adapter_collectives_v1 *collectives =
        size >= offsetof(adapter_rt_open_options, no_check) ? options->collectives : nullptr;
    bool checks = size < offsetof(adapter_rt_open_options, allow_other_base) || !options->no_check;
    bool allowsOtherBase = size >= sizeof(adapter_rt_open_options) && options->allow_other_base;
    if (collectives && collectives->struct_size < sizeof(adapter_collectives_v1))
      return Error{"collectives->struct_size is too small"};
    Result<std::unique_ptr<Model>> opened = Model::open(
        path, options ? options->threads : 0, options ? options->memory_limit : 0, checks, collectives);
    if (!opened)
      return opened.error();
    (*opened)->allowOtherBase(allowsOtherBase);
    *model = new adapter_rt_model{std::move(*opened)};
    return Done{};
  });
}

void adapter_rt_close(adapter_rt_model *model) { delete model; }

adapter_rt_status adapter_rt_info(adapter_rt_model *model, char **json) {
  return guard([&]() -> Status {
    if (!model || !json)
      return Error{"model or json is NULL"};
    *json = duplicate(dump(model->model->info()));
    return Done{};
  });
}

adapter_rt_status adapter_rt_adapters(adapter_rt_model *model, char **json) {
  return guard([&]() -> Status {
    if (!model || !json)
      return Error{"model or json is NULL"};
    *json = duplicate(dump(model->model->adapters()));
    return Done{};
  });
}

void adapter_rt_free(char *text) { std::free(text); }

adapter_rt_status adapter_rt_call(adapter_rt_model *model, const adapter_rt_tensor *inputs,
                                  size_t input_count, const adapter_rt_call_options *options,
                                  adapter_rt_result **result) {
  return guard([&]() -> Status {
    if (!model || !result)
      return Error{"model or result is NULL"};
    *result = nullptr;
    CallRequest request;
    if (Status status = readRequest(inputs, input_count, options, request); !status)
      return status;
    Result<CallResult> called = model->model->call(request);
    if (!called)
      return called.error();
    *result = new adapter_rt_result{std::move(*called)};
    return Done{};
  });
}

size_t adapter_rt_result_count(const adapter_rt_result *result) {
  return result ? result->result.outputs.size() : 0;
}

adapter_rt_status adapter_rt_result_get(const adapter_rt_result *result, size_t index,
                                        adapter_rt_tensor *tensor) {
  return guard([&]() -> Status {
    if (!result || !tensor || index >= result->result.outputs.size())
      return Error{"there is no such output"};
    const Output &output = result->result.outputs[index];
    *tensor = {result->result.names[index].c_str(), output.data.get(), output.dims.data(),
               static_cast<int32_t>(output.dims.size()), output.dtype};
    return Done{};
  });
}

void adapter_rt_result_free(adapter_rt_result *result) { delete result; }

adapter_rt_status adapter_rt_switch(adapter_rt_model *model, const char *adapter) {
  return guard([&]() -> Status {
    if (!model)
      return Error{"model is NULL"};
    return model->model->switchTo(adapter ? adapter : "");
  });
}

adapter_rt_status adapter_rt_load_adapter(adapter_rt_model *model, const char *name, const char *path,
                                          const char *slot) {
  return guard([&]() -> Status {
    if (!model || !name || !path)
      return Error{"model, name or path is NULL"};
    return model->model->loadAdapter(name, path, slot);
  });
}

adapter_rt_status adapter_rt_unload_adapter(adapter_rt_model *model, const char *name) {
  return guard([&]() -> Status {
    if (!model || !name)
      return Error{"model or name is NULL"};
    return model->model->unloadAdapter(name);
  });
}

adapter_rt_status adapter_rt_set(adapter_rt_model *model, const char *property, double value) {
  return guard([&]() -> Status {
    if (!model || !property)
      return Error{"model or property is NULL"};
    return model->model->set(property, value);
  });
}

adapter_rt_status adapter_rt_check_progress(adapter_rt_model *model, adapter_rt_check *progress) {
  return guard([&]() -> Status {
    if (!model || !progress)
      return Error{"model or progress is NULL"};
    FileCheck &check = model->model->fileCheck();
    *progress = !check.status()      ? ADAPTER_RT_CHECK_FAILED
                : check.isComplete() ? ADAPTER_RT_CHECK_PASSED
                : check.isStarted()  ? ADAPTER_RT_CHECK_RUNNING
                                     : ADAPTER_RT_CHECK_OFF;
    return Done{};
  });
}

adapter_rt_status adapter_rt_finish_check(adapter_rt_model *model) {
  return guard([&]() -> Status {
    if (!model)
      return Error{"model is NULL"};
    return model->model->fileCheck().finish();
  });
}

adapter_rt_status adapter_rt_verify(adapter_rt_model *model) {
  return guard([&]() -> Status {
    if (!model)
      return Error{"model is NULL"};
    return model->model->fileCheck().repeat();
  });
}

} // extern "C"
