// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Files; see File.h.
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Work.h"
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace adapter::checkpoint {

static Error systemError(const std::string &path, const char *what) {
  return Error{path + ": cannot " + what + ": " + std::strerror(errno)};
}

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
  if (file.size) {
    void *memory = mmap(nullptr, file.size, PROT_READ, MAP_SHARED, descriptor, 0);
    if (memory == MAP_FAILED) {
      Error error = systemError(path, "map");
      close(descriptor);
      return error;
    }
    size_t size = file.size;
    file.owner = std::shared_ptr<const void>(
        memory, [size](const void *address) { munmap(const_cast<void *>(address), size); });
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

Result<std::unique_ptr<AtomicFile>> AtomicFile::create(const std::string &path) {
  // Not mkstemp: it leaves mode 0600, and reading the umask to widen it is a race between threads.
  static std::atomic<unsigned> counter{0};
  std::string name;
  int descriptor = -1;
  for (int attempt = 0; descriptor < 0 && attempt < 100; ++attempt) {
    name = path + ".tmp-" + std::to_string(getpid()) + "-" + std::to_string(counter++);
    descriptor = open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor < 0 && errno != EEXIST)
      break;
  }
  if (descriptor < 0)
    return systemError(path, "write");
  if (Work *work = currentWork())
    work->note(name);
  return std::unique_ptr<AtomicFile>(new AtomicFile(path, name, descriptor));
}

AtomicFile::~AtomicFile() {
  if (descriptor >= 0) {
    close(descriptor);
    removeTemporary();
  }
}

void AtomicFile::removeTemporary() {
  unlink(temporary.c_str());
  if (Work *work = currentWork())
    work->forget(temporary);
}

Status AtomicFile::write(const void *data, size_t size) {
  const char *bytes = static_cast<const char *>(data);
  while (size) {
    if (isCancelled())
      return cancelledError();
    ssize_t written = ::write(descriptor, bytes, size < (1u << 26) ? size : (1u << 26));
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      return systemError(path, "write");
    bytes += written;
    size -= static_cast<size_t>(written);
  }
  return Done{};
}

Status AtomicFile::commit() {
  if (isCancelled())
    return cancelledError();
  int result = close(descriptor);
  descriptor = -1;
  if (result || rename(temporary.c_str(), path.c_str())) {
    Error error = systemError(path, "write");
    removeTemporary();
    return error;
  }
  if (Work *work = currentWork())
    work->forget(temporary);
  return Done{};
}

} // namespace adapter::checkpoint
