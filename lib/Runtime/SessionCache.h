// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The caches of a session's rows. A row's keys or values lie without padding, [outer][capacity][inner]: outer is what
// stands between the axes of rows and of tokens (heads), inner what stands behind (the width of a head). Code that keeps
// them in place has an order of its own within blocks of tokens.
#ifndef ADAPTER_LIB_RUNTIME_SESSIONCACHE_H
#define ADAPTER_LIB_RUNTIME_SESSIONCACHE_H

#include "lib/Artifact/manifest.pb.h"
#include "lib/Checkpoint/Safetensors.h"
#include "lib/Runtime/Host.h"

namespace adapter::runtime {

using checkpoint::Tensor;

// One input that an output continues.
struct CachedState {
  std::string name; // of the input
  int present = -1; // the output that continues it; -1 where code keeps it in place
  int kept = -1;    // then its number
  int axis = 0;     // of tokens
  checkpoint::DType dtype = checkpoint::DType::F32;
  std::vector<int64_t> dims; // of the input; those of rows and tokens are -1
  int64_t outer = 1, innerBytes = 1;
  int64_t block = 1; // tokens that are copied together

  bool isKept() const { return kept >= 0; }
};

// What code is told of the rows of a call whose caches it keeps in place.
struct KeptRows {
  std::vector<int64_t> lengths, capacities;
  std::vector<void *> memory; // [kept state][row]

  adapter_session_v1 describe() const {
    return {static_cast<int64_t>(lengths.size()), lengths.data(), capacities.data(), memory.data()};
  }
};

class SessionCache {
public:
  // Fails where the sizes are beyond what can be addressed.
  static Result<SessionCache> make(const artifact::Entry &entry, int64_t rows, int64_t capacity);

  const std::vector<CachedState> &states() const { return all; }
  // Room for a row, where it has none yet.
  void reserve(Resources &resources, int64_t row);
  // The caches of the rows that are kept in place.
  KeptRows keptRows(const std::vector<int64_t> &rows, const std::vector<int64_t> &lengths) const;
  // State `state` of the rows side by side, as the graph takes it: the last `lengths[i]` positions of `longest` are row
  // i's, those in front of them 0. The data lives as long as `owner`. Of what is kept in place there are sizes alone.
  Tensor gather(Resources &resources, size_t state, const std::vector<int64_t> &rows,
                const std::vector<int64_t> &lengths, int64_t longest, std::shared_ptr<void> &owner) const;
  // Puts the last `count` positions of an output behind the first `lengths[i]` of each row.
  Status append(Resources &resources, size_t state, const Output &present, const std::vector<int64_t> &rows,
                const std::vector<int64_t> &lengths, int64_t count);
  // Copies the first `length` positions of a row to another.
  void copy(int64_t from, int64_t to, int64_t length);

private:
  char *at(size_t state, int64_t row, int64_t outer, int64_t position) const {
    const CachedState &its = all[state];
    return static_cast<char *>(memory[row][state].get()) + (outer * capacity + position) * its.innerBytes;
  }

  std::vector<CachedState> all;
  int64_t capacity = 0;
  std::vector<std::vector<std::shared_ptr<void>>> memory; // [row][state]
};

} // namespace adapter::runtime

#endif // ADAPTER_LIB_RUNTIME_SESSIONCACHE_H
