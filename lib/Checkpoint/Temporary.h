// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Files and folders that are not complete yet. Each lies beside its target, under a name that says whose it is, and is
// removed whatever ends the process: by its destructor, on a signal (removeTemporariesOnSignal), or, where the process
// was killed, by the next one that writes the same target.
#ifndef ADAPTER_LIB_CHECKPOINT_TEMPORARY_H
#define ADAPTER_LIB_CHECKPOINT_TEMPORARY_H

#include "lib/Checkpoint/Result.h"
#include <string>

namespace adapter::checkpoint {

class Temporary {
public:
  /// A new, empty file beside `target`, open for writing.
  static Result<Temporary> file(const std::string &target);
  /// A new, empty folder beside `target`.
  static Result<Temporary> folder(const std::string &target);
  Temporary(Temporary &&other) noexcept;
  Temporary &operator=(Temporary &&) = delete;
  ~Temporary();

  const std::string &path() const { return where; }
  int descriptor() const { return open; }
  /// A message about it, or about a file in it, which names the place where that was to be.
  Error atTarget(Error error) const;
  /// Closes the file; false with errno where that fails, which may be the first to hear of a full disk.
  bool close();
  /// Gives it the target's place. False with errno where that fails, which leaves both as they are.
  bool moveToTarget();
  /// Exchanges it with a target that exists, which is then removed in its stead.
  bool exchangeWithTarget();

private:
  Temporary(std::string target, std::string where, int open);
  std::string target, where; // `where` is empty once it has moved
  int open;                  // of a folder too: the lock that says that its process lives
};

class Work;
/// Removes what a piece of work left that ended without its destructors.
void removeTemporariesOf(const Work &work);

/// From now on SIGINT, SIGTERM and SIGHUP remove the process's temporaries before they end it. For the start of a
/// command; signals that are ignored stay so. A file that exceeds the process's limit (SIGXFSZ) becomes an error of the
/// write.
void removeTemporariesOnSignal();

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_TEMPORARY_H
