// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One run of the compiler on a thread of its own.
#ifndef ADAPTER_LIB_COMPILERAPI_JOB_H
#define ADAPTER_LIB_COMPILERAPI_JOB_H

#include "adapter-opt/compiler.h"
#include "lib/Checkpoint/Work.h"
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace adapter {

/// Shared by its thread and whoever waits; what is below `mutex` is guarded by it.
class Job {
public:
  Job(std::vector<std::string> arguments, std::string folder)
      : arguments(std::move(arguments)), folder(std::move(folder)) {}

  /// Starts the thread, which keeps the job alive. False where there is none to be had.
  static bool start(const std::shared_ptr<Job> &job);
  bool wait(uint32_t milliseconds);
  void cancel();
  /// Calls off all jobs that run and waits for them.
  static void finishAll();

  // Of a job that is over.
  adapter_opt_status status = ADAPTER_OPT_OK;
  std::string message, output, warnings;

private:
  static void *enter(void *job); ///< the thread
  static void leave(const std::shared_ptr<Job> &job);
  void run();
  void compile();
  void conclude();

  const std::vector<std::string> arguments;
  const std::string folder; ///< removed unless the run succeeds; may be empty
  checkpoint::Work work;
  std::mutex mutex;
  std::condition_variable isOver;
  bool over = false;
};

} // namespace adapter

#endif // ADAPTER_LIB_COMPILERAPI_JOB_H
