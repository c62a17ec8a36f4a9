// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Zip archives for reading, as NumPy and PyTorch write them. Files from anywhere may be opened: what a member claims to
// unpack to is held against what there is to unpack before any memory is taken.
#ifndef ADAPTER_LIB_CHECKPOINT_ZIPARCHIVE_H
#define ADAPTER_LIB_CHECKPOINT_ZIPARCHIVE_H

#include "lib/Checkpoint/Result.h"
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace adapter::checkpoint {

class ZipArchive {
public:
  struct Member {
    std::string name;  // as the archive has it; a folder's ends in '/'
    uint64_t size = 0; // unpacked
  };

  // Lists the archive. Members are stored or deflated. An archive is refused where one is neither, is encrypted, is of
  // 4 GiB and more, has the name of another or a size that cannot be true; as is one with bytes before or behind it.
  static Result<ZipArchive> open(const std::string &path);
  ZipArchive(ZipArchive &&) noexcept;
  ZipArchive &operator=(ZipArchive &&) noexcept;
  ~ZipArchive();

  // In the order of the archive.
  const std::vector<Member> &members() const;
  // Unpacks a member, whose checksum it compares, to `to`, which has room for all of it. One at a time.
  Status read(size_t number, std::byte *to) const;
  // The same as a string, refused where it takes more than `limit` bytes.
  Result<std::string> read(size_t number, uint64_t limit) const;

private:
  struct Contents;
  explicit ZipArchive(std::unique_ptr<Contents> contents);
  std::unique_ptr<Contents> contents;
};

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_ZIPARCHIVE_H
