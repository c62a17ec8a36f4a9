// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A piece of work that somebody waits for and may call off. Loops over much data ask whether it still is wanted, and
// what they put on disk meanwhile is noted, so that nothing of it stays where the work ends early.
#ifndef ADAPTER_LIB_CHECKPOINT_WORK_H
#define ADAPTER_LIB_CHECKPOINT_WORK_H

#include "lib/Checkpoint/Result.h"
#include <atomic>
#include <mutex>
#include <set>

namespace adapter::checkpoint {

class Work {
public:
  void cancel() { cancelled = true; }
  bool isCancelled() const { return cancelled; }

  void note(const std::string &temporary);
  void forget(const std::string &temporary);
  // Removes what is noted: files, and folders with all that they hold.
  void removeTemporaries();

private:
  std::atomic<bool> cancelled{false};
  std::mutex mutex;
  std::set<std::string> temporaries;
};

// What a thread does, from here to the end of the scope, it does for `work`.
class WorkScope {
public:
  explicit WorkScope(Work *work);
  ~WorkScope();
  WorkScope(const WorkScope &) = delete;

private:
  Work *before;
};

// The work of this thread; null where nobody can call it off, as in the commands.
Work *currentWork();
// Whether the work of this thread is called off.
bool isCancelled();
// What is returned then. Nobody reads it.
Error cancelledError();

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_WORK_H
