// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The threads that work on parallel loops of compiled code.
#ifndef ADAPTER_LIB_RUNTIME_THREADPOOL_H
#define ADAPTER_LIB_RUNTIME_THREADPOOL_H

#include "adapter-rt/artifact.h"
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <sched.h>
#include <sys/types.h>
#include <thread>

namespace adapter::runtime {

// Any number of callers may run loops at the same time; each works on its own loop, helped by whichever
// workers are free. A loop inside a loop runs where it stands.
class ThreadPool {
public:
  explicit ThreadPool(int threads); // the caller's included; 0: as many as the process may use
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;

  void parallelFor(adapter_loop_body_v1 body, void *context, int64_t count, int64_t grain);
  int threads() const { return static_cast<int>(workers.size()) + 1; }

private:
  struct Loop {
    adapter_loop_body_v1 body;
    void *context;
    int64_t count, grain;
    std::atomic<int64_t> next{0}; // iteration
    std::atomic<int> helpers{0};
    Loop *following = nullptr;
  };
  struct Worker {
    std::thread thread;
    bool asleep = false;
    int avoided = -1; // the processor that `given` leaves out
    cpu_set_t allowed{}, given{};
    void keepOff(int processor);
  };
  void work(Loop &loop);
  void workerMain(Worker &self);
  void remove(Loop &loop);
  void keepSleepersOffCaller();

  std::mutex mutex;
  std::condition_variable wake, finished;
  Loop *loops = nullptr;           // with work to start; under the mutex
  std::atomic<int64_t> started{0}; // counts loops, for workers that wait awake
  bool stop = false;
  const pid_t process;        // in a forked child the handles of threads mean its only one
  std::deque<Worker> workers; // each under the mutex, but for its thread
};

} // namespace adapter::runtime

#endif // ADAPTER_LIB_RUNTIME_THREADPOOL_H
