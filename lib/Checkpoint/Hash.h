// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// XXH3-128 as 32 hexadecimal digits: integrity, not authenticity.
#ifndef ADAPTER_LIB_CHECKPOINT_HASH_H
#define ADAPTER_LIB_CHECKPOINT_HASH_H

#include "lib/Checkpoint/Result.h"
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace adapter::checkpoint {

std::string hashBytes(const void *data, size_t size);
// Of several buffers as if they stood one behind the other.
std::string hashParts(const std::vector<std::string_view> &parts);
Result<std::string> hashFile(const std::string &path);

// The same hash, of bytes that come in pieces.
class Hasher {
public:
  static constexpr size_t bytes = 16; // of a digest

  Hasher();
  ~Hasher();
  Hasher(const Hasher &) = delete;

  void reset();
  void add(const void *data, size_t size);
  std::string digest() const; // as bytes
  bool isDigest(const char *digest) const;
  std::string text() const; // in hexadecimal digits

private:
  void *state;
};

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_HASH_H
