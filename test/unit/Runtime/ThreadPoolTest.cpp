// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Parallel loops: every iteration once, nested and concurrent loops, grains; where workers may run.
#include "lib/Runtime/ThreadPool.h"
#include <chrono>
#include <cmath>
#include <fstream>
#include <gtest/gtest.h>
#include <pthread.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

using namespace adapter::runtime;

namespace {

struct Counts {
  explicit Counts(int64_t size) : seen(size) {}
  std::vector<std::atomic<int>> seen;
  std::atomic<int64_t> smallest{INT64_MAX}, calls{0};
  ThreadPool *nested = nullptr;
};

void count(void *opaque, int64_t begin, int64_t end) {
  auto *counts = static_cast<Counts *>(opaque);
  for (int64_t i = begin; i < end; ++i)
    ++counts->seen[i];
  ++counts->calls;
  int64_t size = end - begin, smallest = counts->smallest;
  while (size < smallest && !counts->smallest.compare_exchange_weak(smallest, size)) {
  }
}

void nest(void *opaque, int64_t begin, int64_t end) {
  auto *counts = static_cast<Counts *>(opaque);
  Counts inner(50);
  for (int64_t i = begin; i < end; ++i) {
    counts->nested->parallelFor(count, &inner, 50, 1);
    ++counts->seen[i];
  }
  for (auto &each : inner.seen)
    EXPECT_EQ(each, end - begin);
}

// Two threads in one loop of two iterations, and the other one's processors: seen, and given if there are any.
struct Meeting {
  std::atomic<int> arrived{0};
  pthread_t caller = pthread_self();
  pid_t worker = 0;
  cpu_set_t seen;
  const cpu_set_t *give = nullptr;
};

void meet(void *opaque, int64_t, int64_t) {
  auto *meeting = static_cast<Meeting *>(opaque);
  if (!pthread_equal(pthread_self(), meeting->caller)) {
    meeting->worker = gettid();
    sched_getaffinity(0, sizeof meeting->seen, &meeting->seen);
    if (meeting->give)
      sched_setaffinity(0, sizeof *meeting->give, meeting->give);
  }
  ++meeting->arrived;
  while (meeting->arrived < 2)
    std::this_thread::yield();
}

cpu_set_t only(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  return set;
}

// The worker's processors as it meets a caller that stays on `processor`. Waits until the worker sleeps again.
cpu_set_t meetFrom(ThreadPool &pool, int processor, const cpu_set_t *give = nullptr) {
  cpu_set_t here = only(processor);
  EXPECT_EQ(sched_setaffinity(0, sizeof here, &here), 0);
  Meeting meeting;
  meeting.give = give;
  pool.parallelFor(meet, &meeting, 2, 1);
  std::string path = "/proc/self/task/" + std::to_string(meeting.worker) + "/stat", line;
  for (int i = 0; i < 1000 && line.find(") S ") == std::string::npos; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    std::getline(std::ifstream(path), line);
  }
  return meeting.seen;
}

} // namespace

TEST(ThreadPool, EveryIterationOnce) {
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int64_t size : {0, 1, 2, 3, 7, 100, 12345})
      for (int64_t grain : {-1, 1, 3, 1000}) {
        Counts counts(size);
        pool.parallelFor(count, &counts, size, grain);
        for (auto &each : counts.seen)
          ASSERT_EQ(each, 1);
        if (size >= grain && size > 0) {
          EXPECT_GE(counts.smallest, grain);
        }
      }
  }
}

// Chunks shrink by a share of what is left, so their number grows with the logarithm of the loop's length.
TEST(ThreadPool, FewChunks) {
  for (int threads : {2, 5}) {
    ThreadPool pool(threads);
    Counts counts(1000000);
    pool.parallelFor(count, &counts, 1000000, 1);
    EXPECT_GE(counts.calls, 2 * threads);
    EXPECT_LE(counts.calls, 2 * threads * (std::log(1e6) + 1));
  }
}

TEST(ThreadPool, NestedLoopsRunInline) {
  ThreadPool pool(3);
  Counts counts(40);
  counts.nested = &pool;
  pool.parallelFor(nest, &counts, 40, 1);
  for (auto &each : counts.seen)
    EXPECT_EQ(each, 1);
}

TEST(ThreadPool, SeveralCallers) {
  ThreadPool pool(3);
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t)
    callers.emplace_back([&pool] {
      for (int i = 0; i < 300; ++i) {
        Counts counts(64);
        pool.parallelFor(count, &counts, 64, 1);
        for (auto &each : counts.seen)
          ASSERT_EQ(each, 1);
      }
    });
  for (std::thread &caller : callers)
    caller.join();
}

// A worker that wakes on its caller's processor cannot help it, and Linux wakes it there in virtual machines.
TEST(ThreadPool, SleepersWakeElsewhereThanTheirCaller) {
  cpu_set_t all;
  ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
  std::vector<int> processors;
  for (int each = 0; each < CPU_SETSIZE; ++each)
    if (CPU_ISSET(each, &all))
      processors.push_back(each);
  if (processors.size() < 2)
    GTEST_SKIP() << "one processor";
  ThreadPool pool(2);
  int first = processors[0], second = processors[1];
  meetFrom(pool, first);
  for (int caller : {second, first, second, second}) {
    cpu_set_t seen = meetFrom(pool, caller);
    EXPECT_FALSE(CPU_ISSET(caller, &seen));
    EXPECT_EQ(CPU_COUNT(&seen), static_cast<int>(processors.size()) - 1);
  }
  // A forked child works alone. The handles that it has of its parent's threads mean its own one.
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    Counts counts(100);
    for (int processor : {first, second, first}) {
      cpu_set_t here = only(processor), after;
      sched_setaffinity(0, sizeof here, &here);
      sched_setaffinity(0, sizeof all, &all);
      pool.parallelFor(count, &counts, 100, 1);
      sched_getaffinity(0, sizeof after, &after);
      if (!CPU_EQUAL(&after, &all))
        _exit(1);
    }
    _exit(counts.seen[0] == 3 ? 0 : 2);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  // What a user has set for the thread stays, even where it leaves nothing but the caller's processor.
  cpu_set_t one = only(first);
  meetFrom(pool, first, &one);
  for (int caller : {second, first}) {
    cpu_set_t seen = meetFrom(pool, caller);
    EXPECT_TRUE(CPU_EQUAL(&seen, &one));
  }
  sched_setaffinity(0, sizeof all, &all);
}
