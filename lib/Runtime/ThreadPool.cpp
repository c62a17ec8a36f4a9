// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The thread pool; see ThreadPool.h.
#include "lib/Runtime/ThreadPool.h"
#include <algorithm>
#include <pthread.h>
#include <system_error>
#include <unistd.h>

namespace adapter::runtime {

namespace {

thread_local bool insideLoop = false;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// A graph runs loops of some microseconds back to back; going to sleep between them costs more than that.
constexpr int spins = 2000;

int usableThreads() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

} // namespace

ThreadPool::ThreadPool(int threads) : process(getpid()) {
  if (threads <= 0)
    threads = usableThreads();
  threads = std::min(threads, 1024);
  try {
    for (int i = 1; i < threads; ++i) {
      Worker &worker = workers.emplace_back();
      worker.thread = std::thread([this, &worker] { workerMain(worker); });
    }
  } catch (const std::system_error &) {
    // The system has no more threads to give; the pool works with those it has.
    workers.pop_back();
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(mutex);
    stop = true;
    started.fetch_add(1);
  }
  wake.notify_all();
  for (Worker &worker : workers)
    worker.thread.join();
}

void ThreadPool::work(Loop &loop) {
  bool outer = insideLoop;
  insideLoop = true;
  int64_t begin = loop.next.load(std::memory_order_relaxed);
  while (begin < loop.count) {
    // Less and less at a time, so that few chunks are handed out and yet all threads end together, also one
    // that woke late or is held up. What would be left and smaller than the grain goes with this chunk.
    int64_t left = loop.count - begin;
    int64_t size = std::max(loop.grain, left / (2 * threads()));
    if (left - size < loop.grain)
      size = left;
    if (loop.next.compare_exchange_weak(begin, begin + size, std::memory_order_relaxed)) {
      loop.body(loop.context, begin, begin + size);
      begin = loop.next.load(std::memory_order_relaxed);
    }
  }
  insideLoop = outer;
}

// Under the mutex.
void ThreadPool::remove(Loop &loop) {
  for (Loop **link = &loops; *link; link = &(*link)->following)
    if (*link == &loop) {
      *link = loop.following;
      return;
    }
}

void ThreadPool::workerMain(Worker &self) {
  for (;;) {
    int64_t seen = started.load(std::memory_order_acquire);
    std::unique_lock<std::mutex> lock(mutex);
    if (stop)
      return;
    if (Loop *loop = loops) {
      loop->helpers.fetch_add(1, std::memory_order_relaxed);
      lock.unlock();
      work(*loop);
      lock.lock();
      // All chunks are taken, so no other worker need look at it.
      remove(*loop);
      // Its caller may return, and the loop be gone, as soon as the count is 0 and the mutex free.
      if (loop->helpers.fetch_sub(1, std::memory_order_release) == 1)
        finished.notify_all();
      continue;
    }
    lock.unlock();
    for (int i = 0; i < spins && started.load(std::memory_order_acquire) == seen; ++i)
      pause();
    lock.lock();
    self.asleep = true;
    wake.wait(lock, [&] { return stop || loops; });
    self.asleep = false;
  }
}

// Lets the worker run on any processor that it may use but this one, unless there is no other.
void ThreadPool::Worker::keepOff(int processor) {
  avoided = processor;
  pthread_t handle = thread.native_handle();
  cpu_set_t now;
  if (pthread_getaffinity_np(handle, sizeof now, &now) != 0)
    return;
  // Somebody else, a user with `taskset` for one, may have said since then what the thread may use.
  if (!CPU_EQUAL(&now, &given))
    allowed = now;
  given = allowed;
  CPU_CLR(processor, &given);
  if (CPU_COUNT(&given) == 0)
    given = allowed;
  // Where the system does not allow it the worker may wake anywhere, and all works as well, if slower.
  if (!CPU_EQUAL(&now, &given))
    pthread_setaffinity_np(handle, sizeof given, &given);
}

// Under the mutex. In a virtual machine Linux takes a processor that sleeps for one that its host has taken away,
// and wakes a thread on the processor of the one that wakes it: a worker would then wait behind its caller for
// milliseconds, or take its place, while another processor has nothing to do. There it can never help, so it is kept off
// that processor. A caller that stays where it is costs nothing.
void ThreadPool::keepSleepersOffCaller() {
  int processor = sched_getcpu();
  if (processor < 0 || processor >= CPU_SETSIZE)
    return;
  for (Worker &worker : workers)
    if (worker.asleep && worker.avoided != processor && getpid() == process)
      worker.keepOff(processor);
}

void ThreadPool::parallelFor(adapter_loop_body_v1 body, void *context, int64_t count, int64_t grain) {
  if (count <= 0)
    return;
  grain = std::max<int64_t>(grain, 1);
  if (count / grain <= 1 || workers.empty() || insideLoop) {
    body(context, 0, count);
    return;
  }
  Loop loop;
  loop.body = body;
  loop.context = context;
  loop.count = count;
  loop.grain = grain;
  {
    std::lock_guard<std::mutex> lock(mutex);
    loop.following = loops;
    loops = &loop;
    started.fetch_add(1, std::memory_order_release);
    keepSleepersOffCaller();
  }
  wake.notify_all();
  work(loop);
  std::unique_lock<std::mutex> lock(mutex);
  remove(loop);
  lock.unlock();
  for (int i = 0; i < spins && loop.helpers.load(std::memory_order_acquire); ++i)
    pause();
  lock.lock();
  finished.wait(lock, [&] { return loop.helpers.load(std::memory_order_acquire) == 0; });
}

} // namespace adapter::runtime
