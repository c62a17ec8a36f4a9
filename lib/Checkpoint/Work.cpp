// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Work.h.
#include "lib/Checkpoint/Work.h"
#include <filesystem>
#include <system_error>

namespace adapter::checkpoint {

static thread_local Work *current = nullptr;

void Work::note(const std::string &temporary) {
  std::lock_guard<std::mutex> lock(mutex);
  temporaries.insert(temporary);
}

void Work::forget(const std::string &temporary) {
  std::lock_guard<std::mutex> lock(mutex);
  temporaries.erase(temporary);
}

void Work::removeTemporaries() {
  std::lock_guard<std::mutex> lock(mutex);
  std::error_code ignored;
  for (const std::string &path : temporaries)
    std::filesystem::remove_all(path, ignored);
  temporaries.clear();
}

WorkScope::WorkScope(Work *work) : before(current) { current = work; }
WorkScope::~WorkScope() { current = before; }

Work *currentWork() { return current; }
bool isCancelled() { return current && current->isCancelled(); }
Error cancelledError() { return {"cancelled"}; }

} // namespace adapter::checkpoint
