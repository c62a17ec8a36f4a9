// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a run is at, drawn on a terminal while it takes longer than a second.
#ifndef ADAPTER_LIB_PIPELINES_PROGRESS_H
#define ADAPTER_LIB_PIPELINES_PROGRESS_H

#include "llvm/ADT/StringRef.h"
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace adapter {

class Progress {
public:
  /// Draws on standard error, which must be a terminal then.
  explicit Progress(bool isShown);
  ~Progress();

  /// From now on the run is at `name`; of `all` parts, where that is known, it has done `done`.
  void step(llvm::StringRef name, size_t done, size_t all);
  /// Takes what is drawn off the terminal, so that a message can be written. It comes back with the next step.
  void hide();

private:
  void draw();
  void erase();

  std::mutex mutex;
  std::condition_variable changed;
  std::string name;
  size_t done = 0, all = 0;
  bool isDrawn = false, isOver = false;
  std::thread thread;
};

} // namespace adapter

#endif // ADAPTER_LIB_PIPELINES_PROGRESS_H
