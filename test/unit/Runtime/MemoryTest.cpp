// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The cache of blocks and the arena.
#include "lib/Runtime/Memory.h"
#include <cstring>
#include <gtest/gtest.h>
#include <thread>
#include <vector>

using namespace adapter::runtime;

TEST(Memory, BlocksAreAlignedAndLargeEnough) {
  BlockCache cache(0);
  Arena arena(cache);
  for (int64_t bytes : {0, 1, 63, 64, 192, 193, 255, 1000, 4096, 100000, 5000001}) {
    void *memory = arena.allocate(bytes);
    ASSERT_TRUE(memory) << bytes;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % 64, 0u);
    std::memset(memory, 1, static_cast<size_t>(bytes));
  }
  EXPECT_EQ(arena.allocate(-1), nullptr);
  EXPECT_EQ(arena.allocate(INT64_MAX), nullptr);
}

TEST(Memory, BlocksAreUsedAgain) {
  BlockCache cache(0);
  int64_t first = 0;
  for (int round = 0; round < 3; ++round) {
    Arena arena(cache);
    void *a = arena.allocate(1000);
    arena.release(a);
    EXPECT_EQ(arena.allocate(1100), a);
    arena.allocate(70000);
    arena.release(nullptr);
    if (round == 0)
      first = cache.total();
    EXPECT_EQ(cache.total(), first);
  }
}

TEST(Memory, ABlockUpToTwiceAsLargeServes) {
  BlockCache cache(0);
  {
    Arena arena(cache);
    ASSERT_TRUE(arena.allocate(1000000));
  }
  int64_t taken = cache.total();
  for (int64_t bytes : {900000, 700000, 550000}) {
    Arena arena(cache);
    EXPECT_TRUE(arena.allocate(bytes));
    EXPECT_EQ(cache.total(), taken) << bytes;
  }
  Arena arena(cache);
  EXPECT_TRUE(arena.allocate(100000));
  EXPECT_GT(cache.total(), taken);
}

TEST(Memory, TheLimitHoldsAndKeptBlocksMakeRoom) {
  BlockCache cache(10000);
  {
    Arena arena(cache);
    EXPECT_TRUE(arena.allocate(7000));
    EXPECT_FALSE(arena.allocate(7000));
    EXPECT_TRUE(arena.allocate(1000));
  }
  Arena arena(cache);
  EXPECT_TRUE(arena.allocate(8000));
  EXPECT_LE(cache.total(), 10000);
}

TEST(Memory, SharedBuffersOutliveTheirOwnersView) {
  std::shared_ptr<void> buffer;
  {
    auto cache = std::make_shared<BlockCache>(0);
    buffer = takeShared(cache, 100);
  }
  std::memset(buffer.get(), 0, 100);
}

TEST(Memory, ManyThreads) {
  BlockCache cache(0);
  Arena arena(cache);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&arena, t] {
      for (int i = 0; i < 2000; ++i) {
        auto *memory = static_cast<char *>(arena.allocate(100 + i % 700));
        memory[0] = static_cast<char>(t);
        if (i % 3)
          arena.release(memory);
      }
    });
  for (std::thread &thread : threads)
    thread.join();
}
