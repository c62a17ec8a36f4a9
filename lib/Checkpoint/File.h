// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Files: mapped for reading, replaced by rename when written.
#ifndef ADAPTER_LIB_CHECKPOINT_FILE_H
#define ADAPTER_LIB_CHECKPOINT_FILE_H

#include "lib/Checkpoint/Result.h"
#include "lib/Checkpoint/Temporary.h"
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace adapter::checkpoint {

// A regular file, mapped read-only; its pages are shared with every process that maps it.
struct MappedFile {
  std::shared_ptr<const void> owner;
  const std::byte *data = nullptr;
  size_t size = 0;
  std::shared_ptr<const int> descriptor; // where it was asked for

  std::string_view text() const { return {reinterpret_cast<const char *>(data), size}; }
};
Result<MappedFile> mapFile(const std::string &path, bool keepDescriptor = false);
// A private, writable view of some bytes of a file mapped with its descriptor: pages are the file's until they are
// written. Null where the system refuses.
std::shared_ptr<void> mapPrivately(const MappedFile &file, const std::byte *data, size_t size);

// Whether standard output took all that was printed to it; a full disk is heard of here.
Status flushStandardOutput();

bool isDirectory(const std::string &path);
bool exists(const std::string &path);

// Writes beside the target and takes its place at commit(); without commit() nothing is left. A target that is mapped, an
// input, is refused unless it may be: what is mapped stays what it was.
class AtomicFile {
public:
  static Result<std::unique_ptr<AtomicFile>> create(const std::string &path, bool mayBeMapped = false);
  Status write(const void *data, size_t size);
  // Where the next write begins; what is there already is overwritten.
  Status seek(uint64_t offset);
  Status commit();
  const std::string &temporaryPath() const { return temporary.path(); }

private:
  AtomicFile(std::string path, Temporary temporary)
      : path(std::move(path)), temporary(std::move(temporary)) {}
  std::string path;
  Temporary temporary;
};

// A whole file of these bytes, as AtomicFile writes it.
Status writeFile(const std::string &path, std::string_view bytes);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_FILE_H
