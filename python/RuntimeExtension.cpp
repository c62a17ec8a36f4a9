// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The runtime's C API in Python terms; adapter_opt/runtime.py makes it comfortable.
#include "adapter/Version.h"
#include "lib/RunTool/RunTool.h"
#include "python/Call.h"
#include "python/Released.h"
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <optional>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

namespace nb = nanobind;
using namespace adapter::python;

namespace {

nb::list outputsOf(Call &call);

// Runs calls so that Ctrl-C gets through to long ones. A thread costs little beside those, and a short one is over
// before anybody is impatient.
class Patience {
public:
  void run(const std::shared_ptr<Call> &call) {
    size_t bytes = call->bytes();
    auto start = std::chrono::steady_clock::now();
    if (isMainThread() && (secondsPerByte < 0 || secondsPerByte * static_cast<double>(bytes) > 0.03)) {
      runInterruptibly(call);
    } else {
      Released scope;
      call->run();
    }
    std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    secondsPerByte = time.count() / static_cast<double>(std::max<size_t>(bytes, 1));
    check(call->status, call->message);
  }

private:
  std::atomic<double> secondsPerByte{-1}; // of the last call's inputs
};

class Model {
public:
  Model(const std::string &path, int threads, int64_t memoryLimit, bool check, bool allowOtherBase) {
    adapter_rt_open_options options = {sizeof options, threads, memoryLimit, nullptr, !check, allowOtherBase};
    adapter_rt_model *opened = nullptr;
    adapter::python::check(released([&] { return adapter_rt_open(path.c_str(), &options, &opened); }));
    model = std::shared_ptr<adapter_rt_model>(opened, adapter_rt_close);
  }
  Model(const Model &) = delete;

  nb::list call(const std::vector<std::pair<std::string, Input>> &inputs, std::optional<std::string> entry,
                std::optional<std::string> adapter,
                std::optional<std::vector<std::optional<std::string>>> rowAdapters,
                const std::vector<std::pair<std::string, double>> &settings, size_t tokens) {
    forgetInterrupted();
    auto call = std::make_shared<Call>();
    call->model = open();
    call->inputs = inputs;
    call->entry = std::move(entry);
    call->adapter = std::move(adapter);
    call->rowAdapters = std::move(rowAdapters);
    call->settings = settings;
    call->tokens = tokens;
    patience.run(call);
    return outputsOf(*call);
  }

  void close() { model.reset(); }

  void switchTo(std::optional<std::string> name) {
    check(released([&] { return adapter_rt_switch(open().get(), orNull(name)); }));
  }
  void load(const std::string &name, const std::string &path, std::optional<std::string> slot) {
    check(released(
        [&] { return adapter_rt_load_adapter(open().get(), name.c_str(), path.c_str(), orNull(slot)); }));
  }
  void unload(const std::string &name) {
    check(released([&] { return adapter_rt_unload_adapter(open().get(), name.c_str()); }));
  }
  void set(const std::string &property, double value) {
    check(released([&] { return adapter_rt_set(open().get(), property.c_str(), value); }));
  }
  void verify() {
    check(released([&] { return adapter_rt_verify(open().get()); }));
  }
  void finishCheck() {
    check(released([&] { return adapter_rt_finish_check(open().get()); }));
  }
  const char *checkProgress() {
    adapter_rt_check progress = ADAPTER_RT_CHECK_OFF;
    check(adapter_rt_check_progress(open().get(), &progress));
    constexpr const char *names[] = {"off", "running", "passed", "failed"};
    return names[progress];
  }
  std::string info() { return json(adapter_rt_info); }
  std::string adapters() { return json(adapter_rt_adapters); }
  std::shared_ptr<adapter_rt_model> open() const {
    if (!model)
      throw nb::value_error("the model is closed");
    return model;
  }

private:
  // Other Python threads run while the runtime works.
  template <typename Function>
  static adapter_rt_status released(Function function) {
    Released scope;
    return function();
  }
  std::string json(adapter_rt_status (*function)(adapter_rt_model *, char **)) {
    char *text = nullptr;
    check(function(open().get(), &text));
    std::string copy = text;
    adapter_rt_free(text);
    return copy;
  }

  std::shared_ptr<adapter_rt_model> model; // null once it is closed
  Patience patience;
};

// Rows with caches of a model, which lives as long as they do.
class Session {
public:
  Session(const Model &of, std::optional<std::string> entry, int64_t rows, int64_t maxLength)
      : model(of.open()) {
    adapter_rt_session_options options = {sizeof options, orNull(entry), rows, maxLength};
    adapter_rt_session *opened = nullptr;
    check(adapter_rt_session_open(model.get(), &options, &opened));
    session = std::shared_ptr<adapter_rt_session>(opened, adapter_rt_session_close);
  }
  Session(const Session &) = delete;

  nb::list call(const std::vector<std::pair<std::string, Input>> &inputs, const std::vector<int64_t> &rows,
                std::optional<std::vector<int64_t>> lengths, std::optional<std::string> adapter,
                std::optional<std::vector<std::optional<std::string>>> rowAdapters,
                const std::vector<std::pair<std::string, double>> &settings) {
    forgetInterrupted();
    auto call = std::make_shared<Call>();
    call->model = model;
    call->session = session;
    call->rows = rows;
    call->lengths = std::move(lengths);
    call->inputs = inputs;
    call->adapter = std::move(adapter);
    call->rowAdapters = std::move(rowAdapters);
    call->settings = settings;
    patience.run(call);
    return outputsOf(*call);
  }
  int64_t length(int64_t row) {
    int64_t length = 0;
    check(adapter_rt_session_length(session.get(), row, &length));
    return length;
  }
  void reset(int64_t row) { check(adapter_rt_session_reset(session.get(), row)); }
  void rewind(int64_t row, int64_t tokens) { check(adapter_rt_session_rewind(session.get(), row, tokens)); }
  void fork(int64_t row, int64_t into) {
    Released scope;
    check(adapter_rt_session_fork(session.get(), row, into));
  }

private:
  std::shared_ptr<adapter_rt_model> model; // outlives the session
  std::shared_ptr<adapter_rt_session> session;
  Patience patience;
};

nb::list outputsOf(Call &call) {
  adapter_rt_result *result = std::exchange(call.result, nullptr);
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
  Released scope;
  return adapter::runtool::adapterRunMain(static_cast<int>(words.size()), pointers.data());
}

NB_MODULE(_runtime, module) {
  // Threads that are alive when the process ends may hold models; that is not worth a report.
  nb::set_leak_warnings(false);
  nb::module_::import_("atexit").attr("register")(nb::cpp_function(&Released::end));
  module.def("command", &command, nb::arg("arguments"));
  module.attr("__version__") = ADAPTER_VERSION;
  nb::class_<Model>(module, "Model")
      .def(nb::init<const std::string &, int, int64_t, bool, bool>(), nb::arg("path"), nb::arg("threads"),
           nb::arg("memory_limit"), nb::arg("check"), nb::arg("allow_other_base"))
      .def("call", &Model::call, nb::arg("inputs"), nb::arg("entry").none(), nb::arg("adapter").none(),
           nb::arg("row_adapters").none(), nb::arg("settings"), nb::arg("tokens"))
      .def("close", &Model::close)
      .def("switch", &Model::switchTo, nb::arg("name").none())
      .def("load_adapter", &Model::load, nb::arg("name"), nb::arg("path"), nb::arg("slot").none())
      .def("unload_adapter", &Model::unload)
      .def("set", &Model::set)
      .def("verify", &Model::verify)
      .def("finish_check", &Model::finishCheck)
      .def("check_progress", &Model::checkProgress)
      .def("info", &Model::info)
      .def("adapters", &Model::adapters);
  nb::class_<Session>(module, "Session")
      .def(nb::init<const Model &, std::optional<std::string>, int64_t, int64_t>(), nb::arg("model"),
           nb::arg("entry").none(), nb::arg("rows"), nb::arg("max_length"))
      .def("call", &Session::call, nb::arg("inputs"), nb::arg("rows"), nb::arg("lengths").none(),
           nb::arg("adapter").none(), nb::arg("row_adapters").none(), nb::arg("settings"))
      .def("length", &Session::length)
      .def("reset", &Session::reset)
      .def("rewind", &Session::rewind)
      .def("fork", &Session::fork);
}
