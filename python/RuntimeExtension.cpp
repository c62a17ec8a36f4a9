// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The runtime's C API in Python terms; adapter_opt/runtime.py makes it comfortable.
#include "adapter-rt/runtime.h"
#include "adapter/Version.h"
#include "lib/RunTool/RunTool.h"
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <optional>

namespace nb = nanobind;

namespace {

using Input = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;

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

int32_t onnxType(const nb::dlpack::dtype &dtype) {
  for (const Type &type : types)
    if (static_cast<uint8_t>(type.code) == dtype.code && type.bits == dtype.bits && dtype.lanes == 1)
      return type.onnx;
  return 0;
}

// NumPy has no bfloat16: its bits come as uint16.
nb::dlpack::dtype dlpackType(int32_t onnx) {
  for (const Type &type : types)
    if (type.onnx == onnx && onnx != 16)
      return {static_cast<uint8_t>(type.code), type.bits, 1};
  uint8_t bits = onnx == 16 ? 16 : 8;
  return {static_cast<uint8_t>(nb::dlpack::dtype_code::UInt), bits, 1};
}

void check(adapter_rt_status status) {
  if (status == ADAPTER_RT_OK)
    return;
  std::string message = adapter_rt_last_error();
  if (status == ADAPTER_RT_INVALID)
    throw nb::value_error(message.c_str());
  PyErr_SetString(status == ADAPTER_RT_OUT_OF_MEMORY ? PyExc_MemoryError : PyExc_RuntimeError,
                  message.c_str());
  throw nb::python_error();
}

const char *orNull(const std::optional<std::string> &text) { return text ? text->c_str() : nullptr; }

class Model {
public:
  Model(const std::string &path, int threads, int64_t memoryLimit, bool check, bool allowOtherBase) {
    adapter_rt_open_options options = {sizeof options, threads, memoryLimit, nullptr, !check, allowOtherBase};
    ::check(released([&] { return adapter_rt_open(path.c_str(), &options, &model); }));
  }
  ~Model() { adapter_rt_close(model); }
  Model(const Model &) = delete;

  nb::list call(const std::vector<std::pair<std::string, Input>> &inputs, std::optional<std::string> entry,
                std::optional<std::string> adapter,
                std::optional<std::vector<std::optional<std::string>>> rowAdapters,
                const std::vector<std::pair<std::string, double>> &settings, size_t tokens) {
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
    std::vector<const char *> rows;
    if (rowAdapters) {
      for (const auto &name : *rowAdapters)
        rows.push_back(orNull(name));
      rows.reserve(1); // an empty list is one, too
      options.row_adapters = rows.data();
      options.row_count = rows.size();
      options.token_count = tokens;
    }
    std::vector<adapter_rt_setting> values;
    for (const auto &[property, value] : settings)
      values.push_back({property.c_str(), value});
    options.settings = values.data();
    options.setting_count = values.size();
    adapter_rt_result *result = nullptr;
    check(released([&] { return adapter_rt_call(model, views.data(), views.size(), &options, &result); }));
    nb::capsule owner(
        result, [](void *each) noexcept { adapter_rt_result_free(static_cast<adapter_rt_result *>(each)); });
    nb::list outputs;
    for (size_t i = 0; i < adapter_rt_result_count(result); ++i) {
      adapter_rt_tensor view;
      check(adapter_rt_result_get(result, i, &view));
      std::vector<size_t> shape(view.dims, view.dims + view.rank);
      nb::ndarray<nb::numpy> array(const_cast<void *>(view.data), shape.size(), shape.data(), owner, nullptr,
                                   dlpackType(view.dtype));
      outputs.append(nb::make_tuple(view.name, array));
    }
    return outputs;
  }

  void switchTo(std::optional<std::string> name) {
    check(released([&] { return adapter_rt_switch(model, orNull(name)); }));
  }
  void load(const std::string &name, const std::string &path, std::optional<std::string> slot) {
    check(released([&] { return adapter_rt_load_adapter(model, name.c_str(), path.c_str(), orNull(slot)); }));
  }
  void unload(const std::string &name) {
    check(released([&] { return adapter_rt_unload_adapter(model, name.c_str()); }));
  }
  void set(const std::string &property, double value) {
    check(released([&] { return adapter_rt_set(model, property.c_str(), value); }));
  }
  void verify() {
    check(released([&] { return adapter_rt_verify(model); }));
  }
  void finishCheck() {
    check(released([&] { return adapter_rt_finish_check(model); }));
  }
  const char *checkProgress() {
    adapter_rt_check progress = ADAPTER_RT_CHECK_OFF;
    check(adapter_rt_check_progress(model, &progress));
    constexpr const char *names[] = {"off", "running", "passed", "failed"};
    return names[progress];
  }
  std::string info() { return json(adapter_rt_info); }
  std::string adapters() { return json(adapter_rt_adapters); }

private:
  // Other Python threads run while the runtime works.
  template <typename Function>
  static adapter_rt_status released(Function function) {
    nb::gil_scoped_release release;
    return function();
  }
  std::string json(adapter_rt_status (*function)(adapter_rt_model *, char **)) {
    char *text = nullptr;
    check(function(model, &text));
    std::string copy = text;
    adapter_rt_free(text);
    return copy;
  }
  adapter_rt_model *model = nullptr;
};

} // namespace

// The command adapter-run, in a process of its own; its exit code. Arguments are bytes: paths need not be Unicode.
static int command(const std::vector<nb::bytes> &arguments) {
  std::vector<std::string> words;
  for (const nb::bytes &argument : arguments)
    words.emplace_back(argument.c_str(), argument.size());
  std::vector<char *> pointers;
  for (std::string &word : words)
    pointers.push_back(word.data());
  pointers.push_back(nullptr);
  nb::gil_scoped_release release;
  return adapter::runtool::adapterRunMain(static_cast<int>(words.size()), pointers.data());
}

NB_MODULE(_runtime, module) {
  module.def("command", &command, nb::arg("arguments"));
  module.attr("__version__") = ADAPTER_VERSION;
  nb::class_<Model>(module, "Model")
      .def(nb::init<const std::string &, int, int64_t, bool, bool>(), nb::arg("path"), nb::arg("threads"),
           nb::arg("memory_limit"), nb::arg("check"), nb::arg("allow_other_base"))
      .def("call", &Model::call, nb::arg("inputs"), nb::arg("entry").none(), nb::arg("adapter").none(),
           nb::arg("row_adapters").none(), nb::arg("settings"), nb::arg("tokens"))
      .def("switch", &Model::switchTo, nb::arg("name").none())
      .def("load_adapter", &Model::load, nb::arg("name"), nb::arg("path"), nb::arg("slot").none())
      .def("unload_adapter", &Model::unload)
      .def("set", &Model::set)
      .def("verify", &Model::verify)
      .def("finish_check", &Model::finishCheck)
      .def("check_progress", &Model::checkProgress)
      .def("info", &Model::info)
      .def("adapters", &Model::adapters);
}
