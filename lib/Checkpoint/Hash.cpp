// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Hashing; see Hash.h. The header-only form of xxHash keeps the shared library out of the runtime.
#include "lib/Checkpoint/Hash.h"
#include "lib/Checkpoint/File.h"
#include <cstring>
#include <new>

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
  Hasher hasher;
  for (std::string_view part : parts)
    hasher.add(part.data(), part.size());
  return hasher.text();
}

Result<std::string> hashFile(const std::string &path) {
  Result<MappedFile> file = mapFile(path);
  if (!file)
    return file.error();
  return hashBytes(file->data, file->size);
}

static XXH3_state_t *stateOf(void *state) { return static_cast<XXH3_state_t *>(state); }

Hasher::Hasher() : state(XXH3_createState()) {
  if (!state)
    throw std::bad_alloc();
  reset();
}

Hasher::~Hasher() { XXH3_freeState(stateOf(state)); }

void Hasher::reset() { XXH3_128bits_reset(stateOf(state)); }

void Hasher::add(const void *data, size_t size) { XXH3_128bits_update(stateOf(state), data, size); }

std::string Hasher::digest() const {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(stateOf(state)));
  return {reinterpret_cast<const char *>(canonical.digest), sizeof canonical.digest};
}

bool Hasher::isDigest(const char *digest) const {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(stateOf(state)));
  return std::memcmp(canonical.digest, digest, bytes) == 0;
}

std::string Hasher::text() const { return checkpoint::text(XXH3_128bits_digest(stateOf(state))); }

} // namespace adapter::checkpoint
