// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Progress.h. A thread draws, so that the work need not say anything while it is at one thing.
#include "lib/Pipelines/Progress.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"
#include <chrono>

using namespace adapter;
using Clock = std::chrono::steady_clock;

static constexpr std::chrono::milliseconds patience(1000), interval(100);
static constexpr size_t width = 24;

Progress::Progress(bool isShown) {
  if (!isShown)
    return;
  thread = std::thread([this] {
    auto next = Clock::now() + patience;
    std::unique_lock<std::mutex> lock(mutex);
    while (!changed.wait_until(lock, next, [this] { return isOver; })) {
      draw();
      next = Clock::now() + interval;
    }
  });
}

Progress::~Progress() {
  {
    std::lock_guard<std::mutex> lock(mutex);
    isOver = true;
    erase();
  }
  changed.notify_all();
  if (thread.joinable())
    thread.join();
}

void Progress::step(llvm::StringRef newName, size_t newDone, size_t newAll) {
  std::lock_guard<std::mutex> lock(mutex);
  name = newName.str();
  done = newDone;
  all = newAll;
}

void Progress::hide() {
  std::lock_guard<std::mutex> lock(mutex);
  name.clear();
  erase();
}

// With the mutex held.
void Progress::draw() {
  if (name.empty())
    return;
  size_t filled = all ? width * std::min(done, all) / all : 0;
  std::string bar = all ? "[" + std::string(filled, '#') + std::string(width - filled, ' ') + "]" : "...";
  llvm::errs() << "\r\033[K" << llvm::formatv("{0,-10} {1}", name, bar);
  llvm::errs().flush();
  isDrawn = true;
}

void Progress::erase() {
  if (!isDrawn)
    return;
  llvm::errs() << "\r\033[K";
  llvm::errs().flush();
  isDrawn = false;
}
