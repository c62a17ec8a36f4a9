// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Hashing; see Hash.h. The header-only form of xxHash keeps the shared library out of the runtime.
#include "lib/Checkpoint/Hash.h"
#include "lib/Checkpoint/File.h"
#include <memory>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace adapter::checkpoint {

static std::string text(XXH128_hash_t hash) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, hash);
  std::string result;
  for (unsigned char byte : canonical.digest) {
    result += "0123456789abcdef"[byte >> 4];
    result += "0123456789abcdef"[byte & 15];
  }
  return result;
}

std::string hashBytes(const void *data, size_t size) { return text(XXH3_128bits(data, size)); }

std::string hashParts(const std::vector<std::string_view> &parts) {
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t *)> state(XXH3_createState(), XXH3_freeState);
  if (!state)
    throw std::bad_alloc();
  XXH3_128bits_reset(state.get());
  for (std::string_view part : parts)
    XXH3_128bits_update(state.get(), part.data(), part.size());
  return text(XXH3_128bits_digest(state.get()));
}

Result<std::string> hashFile(const std::string &path) {
  Result<MappedFile> file = mapFile(path);
  if (!file)
    return file.error();
  return hashBytes(file->data, file->size);
}

} // namespace adapter::checkpoint
