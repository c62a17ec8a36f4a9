// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A piece of work that somebody waits for and may call off. Loops over much data ask whether it still is wanted; what
// they put on disk meanwhile is known as the work's (Temporary.h), so that nothing of it stays where the work ends early.
#ifndef ADAPTER_LIB_CHECKPOINT_WORK_H
#define ADAPTER_LIB_CHECKPOINT_WORK_H

#include "lib/Checkpoint/Result.h"
#include <atomic>

namespace adapter::checkpoint {

class Work {
public:
  void cancel() { cancelled = true; }
  bool isCancelled() const { return cancelled; }

private:
  std::atomic<bool> cancelled{false};
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
