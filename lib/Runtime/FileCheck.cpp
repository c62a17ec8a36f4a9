// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See FileCheck.h. Files are read rather than mapped: one that is cut short while it is open is then an error and not
// a signal, and pages that calls do not need stay out of the process.
#include "lib/Runtime/FileCheck.h"
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <exception>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

namespace adapter::runtime {

using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Hasher;
using checkpoint::Status;

namespace {

// Processors and the disk are for calls: the thread takes what they leave. The system may refuse any of it.
void yieldToOthers() {
  constexpr int process = 1, bestEffort = 2, lowest = 7; // of ioprio_set, which libc lacks
  sched_param ignored = {};
  if (pthread_setschedparam(pthread_self(), SCHED_IDLE, &ignored) != 0)
    setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), 19);
  syscall(SYS_ioprio_set, process, 0, bestEffort << 13 | lowest);
}

// Low priority alone keeps neither caches nor memory free, and a thread of a call that wakes where this one runs may
// wait for it a little, a hundred times in a call. While a call is under way a check therefore takes at most a tenth or
// so of one processor, and reads up to 1 GB a second.
constexpr size_t burst = size_t(1) << 20;
constexpr useconds_t pause = 1000;

// Of the models that a process opens one at a time is checked, so that memory and disk have one reader more. A forked
// child takes the turn of its parent, whose thread it lacks.
std::atomic<pid_t> turn{0};

bool takeTurn() {
  pid_t self = getpid(), holder = turn.load();
  return holder != self && turn.compare_exchange_strong(holder, self);
}

// Nobody waits for the thread, so that its code must not leave the process before it.
void keepCodeLoaded() {
  Dl_info where;
  if (dladdr(reinterpret_cast<void *>(&keepCodeLoaded), &where) && where.dli_fname)
    dlopen(where.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

} // namespace

size_t FileCheck::add(CheckedFile file) {
  firstChunk.push_back(chunks.size());
  files.push_back(std::move(file));
  const CheckedFile &added = files.back();
  uint64_t begin = 0;
  for (size_t i = 0; i < added.lengths.size(); ++i) {
    Chunk &chunk = chunks.emplace_back();
    chunk.file = files.size() - 1;
    chunk.begin = begin;
    chunk.length = added.lengths[i];
    chunk.hash = added.hashes.data() + i * Hasher::bytes;
    begin += chunk.length;
  }
  left += added.lengths.size();
  return files.size() - 1;
}

//===----------------------------------------------------------------------===//
// One chunk
//===----------------------------------------------------------------------===//

uint32_t FileCheck::compare(const Chunk &chunk, Reader &reader, bool isBackground) const {
  reader.hasher.reset();
  uint64_t at = chunk.begin, end = chunk.begin + chunk.length;
  while (at < end) {
    if (isBackground && reader.sincePause >= burst && calls.load(std::memory_order_relaxed)) {
      usleep(pause);
      reader.sincePause = 0;
    }
    size_t wanted = static_cast<size_t>(std::min<uint64_t>(end - at, Reader::bytes));
    ssize_t got = pread(*files[chunk.file].descriptor, reader.buffer.get(), wanted, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return got < 0 ? static_cast<uint32_t>(errno) : truncated;
    reader.hasher.add(reader.buffer.get(), static_cast<size_t>(got));
    at += static_cast<uint64_t>(got);
    reader.sincePause += static_cast<size_t>(got);
  }
  return reader.hasher.isDigest(chunk.hash) ? none : changed;
}

void FileCheck::check(size_t index, Reader &reader, bool isBackground) {
  uint32_t fault = compare(chunks[index], reader, isBackground);
  uint64_t isFirst = 0;
  if (fault != none)
    wrong.compare_exchange_strong(isFirst, (index + 1) << 32 | fault);
  if (chunks[index].state.exchange(done) != done)
    left.fetch_sub(1);
}

Status FileCheck::verdict() const {
  uint64_t found = wrong.load();
  if (!found)
    return Done{};
  const Chunk &chunk = chunks[(found >> 32) - 1];
  const CheckedFile &file = files[chunk.file];
  std::string part = file.tensors.empty() ? "" : "its header ";
  for (const auto &[begin, key] : file.tensors)
    if (begin <= chunk.begin)
      part = "tensor '" + key + "' ";
  auto fault = static_cast<uint32_t>(found);
  std::string what = fault == changed ? "was changed since it was compiled"
                     : fault == truncated
                         ? "cannot be read: the file became shorter while it was open"
                         : std::string("cannot be read: ") + std::strerror(static_cast<int>(fault));
  return Error{file.path + ": " + part + what + " (bytes " + std::to_string(chunk.begin) + " to " +
               std::to_string(chunk.begin + chunk.length) +
               "); the artifact is damaged: copy it again, or compile it again"};
}

//===----------------------------------------------------------------------===//
// Many
//===----------------------------------------------------------------------===//

void FileCheck::check(size_t first, size_t last, uint64_t end, Reader &reader) {
  // What somebody else is at comes last, and then is done once more: that takes as long as waiting for it.
  for (uint8_t state : {open, taken})
    for (size_t i = first; i < last && chunks[i].begin < end && !wrong.load(); ++i) {
      uint8_t expected = state;
      if (chunks[i].state.compare_exchange_strong(expected, taken))
        check(i, reader, /*isBackground=*/false);
    }
}

Status FileCheck::finish() {
  Reader reader;
  for (size_t file = 0; file < files.size(); ++file)
    check(firstChunk[file], firstChunk[file] + files[file].lengths.size(), UINT64_MAX, reader);
  return verdict();
}

Status FileCheck::finish(size_t file, uint64_t end) {
  Reader reader;
  check(firstChunk[file], firstChunk[file] + files[file].lengths.size(), end, reader);
  return verdict();
}

Status FileCheck::repeat() {
  Reader reader;
  for (size_t i = 0; i < chunks.size() && !wrong.load(); ++i)
    check(i, reader, /*isBackground=*/false);
  return verdict();
}

//===----------------------------------------------------------------------===//
// The thread
//===----------------------------------------------------------------------===//

// One chunk more of two rounds: those that nobody is at, then those that somebody was at. False at their end.
bool FileCheck::checkNext(size_t &next, Reader &reader) {
  for (; next < 2 * chunks.size() && !wrong.load(); ++next) {
    size_t index = next % chunks.size();
    uint8_t expected = next < chunks.size() ? open : taken;
    if (chunks[index].state.compare_exchange_strong(expected, taken)) {
      check(index, reader, /*isBackground=*/true);
      return true;
    }
  }
  return false;
}

void FileCheck::runInBackground(const std::weak_ptr<FileCheck> &check, Reader &reader) {
  yieldToOthers();
  size_t next = 0;
  for (bool more = true; more;) {
    std::shared_ptr<FileCheck> self = check.lock();
    if (!self)
      return;
    if (takeTurn()) {
      more = self->checkNext(next, reader);
      turn = 0;
    } else {
      self.reset();
      usleep(1000);
    }
  }
}

void FileCheck::startThread(const std::shared_ptr<Reader> &reader) {
  try {
    keepCodeLoaded();
    std::thread([self = weak_from_this(), reader] { runInBackground(self, *reader); }).detach();
  } catch (const std::exception &) {
    // The system has no thread to give: the check takes place here and now.
    check(0, chunks.size(), UINT64_MAX, *reader);
  }
}

void FileCheck::start() {
  auto reader = std::make_shared<Reader>();
  started = true;
  owner = getpid();
  if (left.load())
    startThread(reader);
}

Status FileCheck::status() {
  if (started && !isComplete() && !wrong.load()) {
    pid_t other = owner.load(), self = getpid();
    if (other != self) {
      auto reader = std::make_shared<Reader>();
      if (owner.compare_exchange_strong(other, self))
        startThread(reader);
    }
  }
  return verdict();
}

} // namespace adapter::runtime
