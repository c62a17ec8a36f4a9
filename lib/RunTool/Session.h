// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the subcommands of adapter-run do with a model, over the runtime's C API.
#ifndef ADAPTER_LIB_RUNTOOL_SESSION_H
#define ADAPTER_LIB_RUNTOOL_SESSION_H

#include "adapter-rt/runtime.h"
#include "lib/Checkpoint/Result.h"
#include "lib/Checkpoint/Tensor.h"
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace adapter::runtool {

using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;
using checkpoint::Tensor;

struct Load {
  std::string name, path;
  std::optional<std::string> slot;
};

// The options of all subcommands.
struct Options {
  std::string model;
  std::vector<Load> loads;
  std::optional<std::string> adapter;
  std::optional<std::vector<std::string>> rowAdapters; // empty names for none
  size_t tokens = 0; // of a row, if rowAdapters names those of tokens, row after row; else 0
  std::vector<std::pair<std::string, double>> settings;
  std::vector<std::pair<std::string, std::string>> inputs; // name, file
  std::string entry, output;
  int threads = 0;
  int runs = 0; // of bench and switch
  long long memoryLimit = 0;
};

// An open model with its inputs read, adapters loaded and switched.
class Session {
public:
  static Result<std::unique_ptr<Session>> open(const Options &options);

  Result<std::vector<Tensor>> call(); // outputs in the graph's order, under their keys
  Status switchTo(const char *name);
  Status verify();
  Result<std::string> info();
  Result<std::string> timeOf(const std::string &adapter); // "row", "switch", ...

private:
  explicit Session(const Options &options) : options(options) {}
  Status prepare();
  const Options &options;
  std::unique_ptr<adapter_rt_model, void (*)(adapter_rt_model *)> model{nullptr, adapter_rt_close};
  std::vector<Tensor> inputs;
  bool switched = false;
};

} // namespace adapter::runtool

#endif // ADAPTER_LIB_RUNTOOL_SESSION_H
