// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What adapter-opt is asked to do: its options as they are written, and what they mean.
#ifndef ADAPTER_LIB_PIPELINES_COMMANDLINE_H
#define ADAPTER_LIB_PIPELINES_COMMANDLINE_H

#include "lib/Attach/Attach.h"
#include "lib/Pipelines/AdapterOptions.h"
#include "lib/Pipelines/PartitionOptions.h"
#include "llvm/ADT/ArrayRef.h"
#include <optional>
#include <variant>

namespace adapter {

/// The options as they stand on the command line.
struct Words {
  std::vector<std::string> inputs, adapters, combinations, slots, forms, bindings, ignoreMissing, renamings;
  std::string target = "cpu:native", compileTo, base, rowAxis;
  std::optional<std::string> output, report, partition, weights, activations;
  bool noBase = false, allowOtherBase = false, requireProof = false, lossy = false, plan = false,
       check = false, quiet = false, listForms = false, stateful = false;
};

/// One of these options. The table of them is what both parsers below go by.
struct OptionEntry {
  llvm::StringRef name, value, help; ///< `value`: what --help calls the value; of a flag empty
  std::variant<bool Words::*, std::string Words::*, std::optional<std::string> Words::*,
               std::vector<std::string> Words::*>
      place;
};
llvm::ArrayRef<OptionEntry> optionTable();

/// Parses arguments (without the program's name) by the table alone: no state outside, so any number of threads may.
/// A message is about wrong usage.
checkpoint::Result<Words> parseWords(llvm::ArrayRef<std::string> arguments);

/// Registers the table with LLVM's command line, which is one for the process; once. The function that is returned
/// reads what LLVM parsed.
Words (*registerOptions())();

/// What the words mean.
struct CommandLine {
  std::vector<std::string> inputs;
  std::string output, target, compileTo;
  AdapterOptions adapters;
  AttachOptions attach;
  std::string report;     ///< of --check: text, json or html
  std::string reportFile; ///< where it goes; "-" for standard output
  bool isOutputGiven = false;
  bool quiet = false;
  bool allowLossyMerge = false;
  bool plan = false;              ///< print it
  std::vector<std::string> forms; ///< files of definitions
  bool listForms = false;         ///< print them and those of the library
  std::string rowInput;
  int64_t rowAxis = 0;
  PartitionOptions partition;
  std::string weights;            ///< how they are stored, a word of #kernel.format; empty: as they are
  int64_t weightGroup = 0;        ///< rows of a weight that share a scale; 0: 32
  bool integerActivations = true; ///< what weights of integers are multiplied with is rounded to such, too
  bool bf16Activations = false;   ///< likewise for weights of bf16
  bool stateful = false;          ///< caches of keys and values are state of sessions

  /// Whether the module is written as it was read, or with its adapters where they belong.
  bool endsBefore(llvm::StringRef phase) const {
    return compileTo == "import" || (compileTo == "attach" && phase != "attach");
  }
  bool hasAdapters() const { return !adapters.adapters.empty() || !adapters.slots.empty(); }
  /// Whether what --plan prints about experts is all that was asked for.
  bool endsWithPlan() const { return partition.ranks && plan && output == "-" && compileTo.empty(); }
  /// Whether the output is code rather than a module.
  bool isCode() const;
  /// Whether the output has no place for adapters that the model is not one with.
  bool isMerged() const;
  /// Whether a module is what the run would print.
  bool printsModule() const {
    return output == "-" && !attach.checkOnly && !endsWithPlan() && !(plan && compileTo.empty());
  }
  /// Whether one textual module becomes text, as in every mlir-opt.
  bool isText() const;
};

/// A message is about wrong usage.
checkpoint::Result<CommandLine> interpret(const Words &words);

} // namespace adapter

#endif // ADAPTER_LIB_PIPELINES_COMMANDLINE_H
