// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the subcommands of adapter-run do with a model, over the runtime's C API.
#ifndef ADAPTER_LIB_RUNTOOL_OPENMODEL_H
#define ADAPTER_LIB_RUNTOOL_OPENMODEL_H

#include "adapter-rt/artifact.h"
#include "adapter-rt/runtime.h"
#include "lib/Checkpoint/Result.h"
#include "lib/Checkpoint/Tensor.h"
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace adapter::runtool {

using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;
using checkpoint::Tensor;

// What a status of the C API says, with the message of this thread's last failure.
Status check(adapter_rt_status status);

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
  std::vector<std::pair<std::string, std::string>> inputs; // name, file; no name for all arrays of an archive
  bool hasBatches = false;                                 // an input may be given several times
  std::vector<std::vector<int64_t>> prompts;               // of generate, by row
  std::vector<int64_t> ends;                               // tokens that end a text
  int64_t newTokens = 128;                                 // at most, of each prompt
  std::string entry, output;
  bool noCheck = false, allowOtherBase = false;
  int threads = 0;
  int runs = 0; // of bench and switch
  long long memoryLimit = 0;
  std::string collectives = "auto";
  const adapter_collectives_v1 *processes = nullptr; // those that run the model together
};

// An open model with its inputs read, adapters loaded and switched.
class OpenModel {
public:
  static Result<std::unique_ptr<OpenModel>> open(const Options &options);

  using Routed = void (*)(void *context, int32_t layer, int64_t tokens, int64_t top, const int64_t *experts);
  // Outputs in the graph's order, under their keys. An input that is given several times has one value for each
  // batch; `routed` is told which experts are chosen.
  Result<std::vector<Tensor>> call(size_t batch = 0, Routed routed = nullptr, void *context = nullptr);
  size_t batches() const { return inputs.size(); }
  adapter_rt_model *handle() const { return model.get(); }
  bool isSwitched() const { return switched; } // the adapter of the options is in the weights
  Status switchTo(const char *name);
  Status verify();
  // Whether the model's files, of all processes, are as they were compiled. To be asked before an answer is given.
  Status confirm();
  Result<std::string> info();
  Result<std::string>
  timeOf(const std::string &adapter); // "row", "switch", ...; "": the call says what is wrong
  Result<size_t> outputCount();

private:
  explicit OpenModel(const Options &options) : options(options) {}
  Status prepare();
  Status readAllInputs();
  Status agree();
  const Options &options;
  std::unique_ptr<adapter_rt_model, void (*)(adapter_rt_model *)> model{nullptr, adapter_rt_close};
  std::vector<std::vector<Tensor>> inputs;   // by batch
  std::map<std::string, std::string> fileOf; // the last one that an input was read from
  bool switched = false;
};

} // namespace adapter::runtool

#endif // ADAPTER_LIB_RUNTOOL_OPENMODEL_H
