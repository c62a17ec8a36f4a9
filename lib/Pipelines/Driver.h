// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What adapter-opt does once it is known what it is asked for. Nothing here is the process's own: it may run any number
// of times, in several threads at once.
#ifndef ADAPTER_LIB_PIPELINES_DRIVER_H
#define ADAPTER_LIB_PIPELINES_DRIVER_H

#include "lib/Pipelines/CommandLine.h"
#include "lib/Pipelines/Compile.h"
#include "llvm/Support/raw_ostream.h"
#include <functional>

namespace mlir {
class DialectRegistry;
class MlirOptMainConfig;
} // namespace mlir

namespace adapter {

enum ExitCode { done = 0, inputAtFault = 1, wrongUsage = 2 };

/// Where a run says something. Messages are one line, without a prefix.
struct Console {
  llvm::raw_ostream &out;
  std::function<void(const std::string &message)> error, warning;
  /// What was done, for people.
  std::function<void(const std::string &message)> note = [](const std::string &) {};
  /// What the run is at: a name, and how many of how many parts are done, or 0 of 0.
  StepListener step = [](llvm::StringRef, size_t, size_t) {};
  bool isTerminal = false; ///< whether `out` is one, where nobody wants a model

  ExitCode fail(ExitCode code, const std::string &message) const {
    error(message);
    return code;
  }
};

/// Runs on models, or on whatever is not one textual module that becomes text. `config`: what MLIR's own options say.
ExitCode runOnModels(const CommandLine &line, const mlir::DialectRegistry &registry,
                     const mlir::MlirOptMainConfig &config, const Console &console);

/// Prints the forms of the library and of the line's files.
ExitCode listForms(const CommandLine &line, const mlir::DialectRegistry &registry, const Console &console);

/// Runs as an mlir-opt: diagnostics go to standard error as MLIR writes them.
ExitCode runOnText(const CommandLine &line, mlir::DialectRegistry &registry, mlir::MlirOptMainConfig config,
                   const Console &console);

} // namespace adapter

#endif // ADAPTER_LIB_PIPELINES_DRIVER_H
