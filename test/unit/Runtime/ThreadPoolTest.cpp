// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Parallel loops: every iteration once, nested and concurrent loops, grains.
#include "lib/Runtime/ThreadPool.h"
#include <cmath>
#include <gtest/gtest.h>

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
