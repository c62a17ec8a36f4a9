// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Compares an artifact's files with their hashes, chunk by chunk, in the background. A chunk that is wrong makes the
// artifact useless from then on.
#ifndef ADAPTER_LIB_RUNTIME_FILECHECK_H
#define ADAPTER_LIB_RUNTIME_FILECHECK_H

#include "lib/Checkpoint/Hash.h"
#include "lib/Checkpoint/Result.h"
#include <atomic>
#include <deque>
#include <memory>
#include <sys/types.h>
#include <vector>

namespace adapter::runtime {

// One of the files, as it was opened: what calls read, whatever becomes of its name.
struct CheckedFile {
  std::string path;
  std::shared_ptr<const int> descriptor;
  std::vector<uint64_t> lengths;                         // of its chunks
  std::string hashes;                                    // of these, one behind the other
  std::vector<std::pair<uint64_t, std::string>> tensors; // where each begins, in ascending order
};

// Chunks are handed out by atomics, and whoever waits does what is left itself: no thread ever waits for another. So
// a check goes on in a forked child, which lacks the thread, and a waiter does not depend on one of low priority.
class FileCheck : public std::enable_shared_from_this<FileCheck> {
public:
  // Lives while a call does, of any model of the process: threads of checks then step back.
  class CallUnderWay {
  public:
    CallUnderWay() { calls.fetch_add(1, std::memory_order_relaxed); }
    ~CallUnderWay() { calls.fetch_sub(1, std::memory_order_relaxed); }
    CallUnderWay(const CallUnderWay &) = delete;
  };

  FileCheck() = default;
  FileCheck(const FileCheck &) = delete;

  // All files are added before the check starts; returns the file's number.
  size_t add(CheckedFile file);
  // Starts the thread that checks what is left. It ends by itself, at the latest one chunk after the FileCheck is gone:
  // nobody waits for it. Without it only those check who ask for it.
  void start();

  // What is known by now: an error from the moment on at which a chunk is found wrong.
  checkpoint::Status status();
  bool isStarted() const { return started; }
  bool isComplete() const { return left.load(std::memory_order_acquire) == 0; }
  // Whether all files, or one, or the chunks of it that begin before `end`, are as they were written; what is not
  // known yet is found out here.
  checkpoint::Status finish();
  checkpoint::Status finish(size_t file, uint64_t end = UINT64_MAX);
  // The same by reading everything anew.
  checkpoint::Status repeat();

private:
  enum State : uint8_t { open, taken, done };
  struct Chunk {
    size_t file;
    uint64_t begin, length;
    const char *hash;
    std::atomic<uint8_t> state{open};
  };
  // What reading takes, obtained beforehand: the thread itself cannot fail.
  struct Reader {
    // Stays in a cache between reading and hashing, and a thread that wakes need not wait for long.
    static constexpr size_t bytes = size_t(32) << 10;
    std::unique_ptr<char[]> buffer{new char[bytes]};
    checkpoint::Hasher hasher;
    size_t sincePause = 0;
  };
  // What may be wrong with a chunk, beside the numbers of errno.
  enum Fault : uint32_t { none = 0, changed = 1 << 16, truncated };

  uint32_t compare(const Chunk &chunk, Reader &reader, bool isBackground) const;
  void check(size_t index, Reader &reader, bool isBackground);
  void check(size_t first, size_t last, uint64_t end, Reader &reader);
  bool checkNext(size_t &next, Reader &reader);
  static void runInBackground(const std::weak_ptr<FileCheck> &check, Reader &reader);
  void startThread(const std::shared_ptr<Reader> &reader);
  checkpoint::Status verdict() const;

  static inline std::atomic<int> calls{0};
  std::deque<CheckedFile> files;
  std::deque<Chunk> chunks; // by file
  std::vector<size_t> firstChunk;
  std::atomic<size_t> left{0};
  std::atomic<uint64_t> wrong{0}; // the first that was found: 1 + its index, above the fault's 32 bits
  bool started = false;
  std::atomic<pid_t> owner{0}; // the process that has the thread
};

} // namespace adapter::runtime

#endif // ADAPTER_LIB_RUNTIME_FILECHECK_H
