// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Memory of calls; see Memory.h.
#include "lib/Runtime/Memory.h"
#include <algorithm>
#include <cstdlib>
#include <new>
#include <sys/mman.h>

namespace adapter::runtime {

// Stands in the 64 bytes before the memory.
struct Block {
  Block *next, *previous;
  int64_t bytes; // of the whole, header included
  int sizeClass;
};

namespace {

constexpr int64_t header = 64;
static_assert(sizeof(Block) <= header, "the header keeps the memory aligned");

// Four classes for each power of two waste a fifth at most.
int classOf(int64_t bytes, int64_t &rounded) {
  int64_t power = 256;
  int index = 0;
  while (power < bytes && index < 240) {
    power *= 2;
    index += 4;
  }
  rounded = power;
  if (power == 256)
    return 0;
  for (int quarter = 1; quarter < 4; ++quarter) {
    int64_t size = power / 2 + power / 8 * quarter;
    if (size >= bytes) {
      rounded = size;
      return index - 4 + quarter;
    }
  }
  return index;
}

} // namespace

// The system hands out memory when it is first written, page by page: weights that a switch makes for the first time
// take several times as long so. Of large pages it hands out few.
static void *fromSystem(size_t bytes) {
  constexpr size_t page = size_t(2) << 20;
  if (bytes < page)
    return std::aligned_alloc(64, bytes);
  void *memory = std::aligned_alloc(page, bytes);
  if (memory)
    madvise(memory, bytes, MADV_HUGEPAGE); // what the system makes of it is its own affair
  return memory;
}

void *memoryOf(Block *block) { return reinterpret_cast<char *>(block) + header; }

static Block *blockOf(void *memory) {
  return reinterpret_cast<Block *>(static_cast<char *>(memory) - header);
}

BlockCache::~BlockCache() {
  for (Block *block : free)
    while (block) {
      Block *next = block->next;
      std::free(block);
      block = next;
    }
}

// Makes room below the limit by giving kept blocks back.
bool BlockCache::reserve(int64_t bytes) {
  if (limit <= 0 || taken + bytes <= limit)
    return true;
  for (Block *&list : free)
    while (list && taken + bytes > limit) {
      Block *block = list;
      list = block->next;
      taken -= block->bytes;
      std::free(block);
    }
  return taken + bytes <= limit;
}

Block *BlockCache::take(int64_t bytes) {
  if (bytes < 0 || bytes > (int64_t(1) << 48))
    return nullptr;
  int64_t rounded;
  int index = classOf(bytes + header, rounded);
  std::lock_guard<std::mutex> lock(mutex);
  // A block up to twice as large serves as well, so that calls of many lengths do not leave an arena each.
  for (int near = index; near <= std::min(index + 4, classes - 1); ++near)
    if (Block *block = free[near]) {
      free[near] = block->next;
      return block;
    }
  if (!reserve(rounded))
    return nullptr;
  auto *block = static_cast<Block *>(fromSystem(static_cast<size_t>(rounded)));
  if (!block)
    return nullptr;
  taken += rounded;
  block->bytes = rounded;
  block->sizeClass = index;
  return block;
}

void BlockCache::give(Block *block) {
  std::lock_guard<std::mutex> lock(mutex);
  block->next = free[block->sizeClass];
  free[block->sizeClass] = block;
}

int64_t BlockCache::total() const {
  std::lock_guard<std::mutex> lock(mutex);
  return taken;
}

std::shared_ptr<void> takeShared(const std::shared_ptr<BlockCache> &cache, int64_t bytes) {
  Block *block = cache->take(bytes);
  if (!block)
    return nullptr;
  return std::shared_ptr<void>(memoryOf(block), [cache](void *memory) { cache->give(blockOf(memory)); });
}

std::shared_ptr<void> mustTakeShared(const std::shared_ptr<BlockCache> &cache, int64_t bytes) {
  std::shared_ptr<void> memory = takeShared(cache, std::max<int64_t>(bytes, 1));
  if (!memory)
    throw std::bad_alloc();
  return memory;
}

Arena::~Arena() {
  while (first) {
    Block *next = first->next;
    cache.give(first);
    first = next;
  }
}

void *Arena::allocate(int64_t bytes) {
  Block *block = cache.take(bytes);
  if (!block)
    return nullptr;
  std::lock_guard<std::mutex> lock(mutex);
  block->previous = nullptr;
  block->next = first;
  if (first)
    first->previous = block;
  first = block;
  return memoryOf(block);
}

void Arena::release(void *memory) {
  if (!memory)
    return;
  Block *block = blockOf(memory);
  {
    std::lock_guard<std::mutex> lock(mutex);
    (block->previous ? block->previous->next : first) = block->next;
    if (block->next)
      block->next->previous = block->previous;
  }
  cache.give(block);
}

} // namespace adapter::runtime
