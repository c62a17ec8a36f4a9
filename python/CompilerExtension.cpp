// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The compiler's C API in Python terms; adapter_opt/compiler.py makes it comfortable. Text goes in and out as bytes:
// paths need not be Unicode.
#include "adapter-opt/compiler.h"
#include "python/Released.h"
#include <memory>
#include <nanobind/nanobind.h>
#include <nanobind/stl/vector.h>
#include <new>
#include <string>
#include <vector>

namespace nb = nanobind;
using adapter::python::Released;

namespace {

// In milliseconds: how often the caller looks for signals, and how long a run that is called off may take to end
// before it is left to end on its own.
constexpr uint32_t poll = 10, grace = 50;

using Words = std::vector<nb::bytes>;

std::vector<std::string> copyOf(const Words &words) {
  std::vector<std::string> result;
  for (const nb::bytes &word : words)
    result.emplace_back(word.c_str(), word.size());
  return result;
}

bool waitReleased(adapter_opt_job *job, uint32_t milliseconds) {
  Released scope;
  return adapter_opt_wait(job, milliseconds);
}

nb::bytes bytesOf(const char *text) { return nb::bytes(text); }

// (status, message, output, warnings); raises what a signal handler raises.
nb::tuple run(const Words &arguments, const nb::bytes &folder) {
  std::vector<std::string> words = copyOf(arguments);
  std::vector<const char *> pointers;
  for (const std::string &word : words)
    pointers.push_back(word.c_str());
  adapter_opt_job *started = nullptr;
  adapter_opt_status status =
      adapter_opt_start(pointers.data(), pointers.size(), folder.size() ? folder.c_str() : nullptr, &started);
  if (status != ADAPTER_OPT_OK)
    throw std::bad_alloc();
  std::unique_ptr<adapter_opt_job, void (*)(adapter_opt_job *)> job(started, adapter_opt_free);
  while (!waitReleased(started, poll))
    if (PyErr_CheckSignals()) {
      nb::python_error raised; // takes the exception over before others may run
      adapter_opt_cancel(started);
      waitReleased(started, grace);
      throw raised;
    }
  return nb::make_tuple(static_cast<int>(adapter_opt_result(started)), bytesOf(adapter_opt_message(started)),
                        bytesOf(adapter_opt_output(started)), bytesOf(adapter_opt_warnings(started)));
}

int command(const Words &arguments) {
  std::vector<std::string> words = copyOf(arguments);
  std::vector<char *> pointers;
  for (std::string &word : words)
    pointers.push_back(word.data());
  pointers.push_back(nullptr);
  Released scope;
  return adapter_opt_main(static_cast<int>(words.size()), pointers.data());
}

void finish() {
  {
    Released scope;
    adapter_opt_finish();
  }
  Released::end();
}

} // namespace

NB_MODULE(_compiler, module) {
  nb::set_leak_warnings(false);
  module.attr("__version__") = adapter_opt_version();
  module.attr("llvm_version") = adapter_opt_llvm_version();
  module.attr("OK") = static_cast<int>(ADAPTER_OPT_OK);
  module.attr("INVALID") = static_cast<int>(ADAPTER_OPT_INVALID);
  module.attr("OUT_OF_MEMORY") = static_cast<int>(ADAPTER_OPT_OUT_OF_MEMORY);
  module.attr("INTERNAL") = static_cast<int>(ADAPTER_OPT_INTERNAL);
  module.def("run", &run, nb::arg("arguments"), nb::arg("folder"));
  module.def("command", &command, nb::arg("arguments"));
  // A run that was called off may still be at work when the interpreter ends.
  nb::module_::import_("atexit").attr("register")(nb::cpp_function(&finish));
}
