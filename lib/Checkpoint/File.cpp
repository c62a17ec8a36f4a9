// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Files; see File.h.
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Work.h"
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <set>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace adapter::checkpoint {

static Error systemError(const std::string &path, const char *what) {
  return Error{path + ": cannot " + what + ": " + std::strerror(errno)};
}

//===----------------------------------------------------------------------===//
// What is mapped
//===----------------------------------------------------------------------===//

namespace {
using FileId = std::pair<dev_t, ino_t>;

struct MappedFiles {
  std::mutex mutex;
  std::multiset<FileId> ids;
};
} // namespace

// Outlives the static variables that may hold mappings.
static MappedFiles &mappedFiles() {
  static auto *all = new MappedFiles;
  return *all;
}

static void remember(const FileId &id) {
  std::lock_guard<std::mutex> guard(mappedFiles().mutex);
  mappedFiles().ids.insert(id);
}

static void forget(const FileId &id) {
  std::lock_guard<std::mutex> guard(mappedFiles().mutex);
  mappedFiles().ids.erase(mappedFiles().ids.find(id));
}

static bool isMapped(const std::string &path) {
  struct stat status;
  if (stat(path.c_str(), &status))
    return false;
  std::lock_guard<std::mutex> guard(mappedFiles().mutex);
  return mappedFiles().ids.count({status.st_dev, status.st_ino}) > 0;
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

Result<MappedFile> mapFile(const std::string &path, bool keepDescriptor) {
  // O_NONBLOCK: opening a pipe must not wait for a writer.
  int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0)
    return systemError(path, "open");
  struct stat status;
  if (fstat(descriptor, &status) || !S_ISREG(status.st_mode)) {
    close(descriptor);
    return Error{path + ": not a regular file"};
  }
  MappedFile file;
  file.size = static_cast<size_t>(status.st_size);
  const FileId id{status.st_dev, status.st_ino};
  if (file.size) {
    void *memory = mmap(nullptr, file.size, PROT_READ, MAP_SHARED, descriptor, 0);
    if (memory == MAP_FAILED) {
      Error error = systemError(path, "map");
      close(descriptor);
      return error;
    }
    size_t size = file.size;
    remember(id);
    file.owner = std::shared_ptr<const void>(memory, [size, id](const void *address) {
      munmap(const_cast<void *>(address), size);
      forget(id);
    });
    file.data = static_cast<const std::byte *>(memory);
  }
  if (keepDescriptor)
    file.descriptor = std::shared_ptr<const int>(new int(descriptor), [](const int *open) {
      close(*open);
      delete open;
    });
  else
    close(descriptor);
  return file;
}

std::shared_ptr<void> mapPrivately(const MappedFile &file, const std::byte *data, size_t size) {
  size_t offset = static_cast<size_t>(data - file.data), page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  size_t before = offset % page, length = size + before;
  void *memory = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, *file.descriptor,
                      static_cast<off_t>(offset - before));
  if (memory == MAP_FAILED)
    return nullptr;
  return std::shared_ptr<void>(static_cast<std::byte *>(memory) + before,
                               [memory, length](void *) { munmap(memory, length); });
}

bool isDirectory(const std::string &path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

bool exists(const std::string &path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0;
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

Status flushStandardOutput() {
  if (std::fflush(stdout) || std::ferror(stdout))
    return systemError("standard output", "write");
  return Done{};
}

Result<std::unique_ptr<AtomicFile>> AtomicFile::create(const std::string &path, bool mayBeMapped) {
  if (!mayBeMapped && isMapped(path))
    return Error{path + ": is read as an input; name another output"};
  Result<Temporary> made = Temporary::file(path);
  if (!made)
    return made.error();
  return std::unique_ptr<AtomicFile>(new AtomicFile(path, std::move(*made)));
}

Status AtomicFile::write(const void *data, size_t size) {
  const char *bytes = static_cast<const char *>(data);
  while (size) {
    if (isCancelled())
      return cancelledError();
    ssize_t written = ::write(temporary.descriptor(), bytes, size < (1u << 26) ? size : (1u << 26));
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      return systemError(path, "write");
    bytes += written;
    size -= static_cast<size_t>(written);
  }
  return Done{};
}

Status AtomicFile::seek(uint64_t offset) {
  if (lseek(temporary.descriptor(), static_cast<off_t>(offset), SEEK_SET) < 0)
    return systemError(path, "write");
  return Done{};
}

Status AtomicFile::commit() {
  if (isCancelled())
    return cancelledError();
  if (!temporary.close() || !temporary.moveToTarget())
    return systemError(path, "write");
  return Done{};
}

Status writeFile(const std::string &path, std::string_view bytes) {
  Result<std::unique_ptr<AtomicFile>> file = AtomicFile::create(path);
  if (!file)
    return file.error();
  Status status = (*file)->write(bytes.data(), bytes.size());
  return status ? (*file)->commit() : status;
}

} // namespace adapter::checkpoint
