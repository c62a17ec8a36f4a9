// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Memory of calls: blocks that are kept between calls, so that a warm model allocates nothing from the
// system, and the arena through which one call takes them.
#ifndef ADAPTER_LIB_RUNTIME_MEMORY_H
#define ADAPTER_LIB_RUNTIME_MEMORY_H

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

namespace adapter::runtime {

struct Block;

// Free blocks by size class. Thread-safe.
class BlockCache {
public:
  explicit BlockCache(int64_t limit) : limit(limit) {}
  ~BlockCache();
  BlockCache(const BlockCache &) = delete;

  Block *take(int64_t bytes); // null when out of memory or over the limit
  void give(Block *block);
  // Bytes obtained from the system, in use or kept.
  int64_t total() const;

private:
  static constexpr int classes = 256;
  bool reserve(int64_t bytes);
  mutable std::mutex mutex;
  std::array<Block *, classes> free{};
  int64_t limit, taken = 0;
};

void *memoryOf(Block *block);

// A 64-byte aligned buffer that goes back to its cache.
std::shared_ptr<void> takeShared(const std::shared_ptr<BlockCache> &cache, int64_t bytes);

// The same, where at least one byte must be had: a std::bad_alloc where there is none.
std::shared_ptr<void> mustTakeShared(const std::shared_ptr<BlockCache> &cache, int64_t bytes);

// The blocks of one call; what is left goes back at its end. Thread-safe.
class Arena {
public:
  explicit Arena(BlockCache &cache) : cache(cache) {}
  ~Arena();
  Arena(const Arena &) = delete;

  void *allocate(int64_t bytes);
  void release(void *memory);

private:
  BlockCache &cache;
  std::mutex mutex;
  Block *first = nullptr;
};

} // namespace adapter::runtime

#endif // ADAPTER_LIB_RUNTIME_MEMORY_H
