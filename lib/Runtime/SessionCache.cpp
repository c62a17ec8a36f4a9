// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See SessionCache.h.
#include "lib/Runtime/SessionCache.h"
#include "lib/Checkpoint/DType.h"
#include <cstring>
#include <functional>

namespace adapter::runtime {

// Runs body(i) for all i < count, several at a time.
static void forEach(Resources &resources, int64_t count, const std::function<void(int64_t)> &body) {
  resources.pool.parallelFor(
      [](void *context, int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          (*static_cast<const std::function<void(int64_t)> *>(context))(i);
      },
      const_cast<std::function<void(int64_t)> *>(&body), count, 1);
}

Result<SessionCache> SessionCache::make(const artifact::Entry &entry, int64_t rows, int64_t capacity) {
  SessionCache cache;
  for (const artifact::State &state : entry.session().states())
    if (int64_t block = state.kept().block(); block > 0)
      capacity = (capacity + block - 1) / block * block;
  cache.capacity = capacity;
  for (const artifact::State &state : entry.session().states()) {
    const artifact::Tensor &input = entry.inputs(state.past());
    CachedState made;
    made.name = input.name();
    made.present = state.present();
    made.axis = state.axis();
    made.dtype = static_cast<checkpoint::DType>(input.dtype());
    made.dims.assign(input.dims().begin(), input.dims().end());
    std::vector<int64_t> row{capacity};
    for (int i = 1; i < input.dims_size(); ++i) {
      if (i == made.axis)
        continue;
      (i < made.axis ? made.outer : made.innerBytes) *= made.dims[i];
      row.push_back(made.dims[i]);
    }
    if (state.has_kept()) {
      made.kept = state.kept().number();
      made.block = state.kept().block();
      made.innerBytes = state.kept().numbers();
      row = {capacity, made.outer, made.innerBytes};
    }
    std::optional<size_t> bytes = checkpoint::tensorBytes(made.dtype, row);
    std::optional<size_t> element = checkpoint::tensorBytes(made.dtype, {1});
    if (!bytes || !element || *bytes > (size_t(1) << 44))
      return Error{"a cache of " + std::to_string(capacity) + " tokens is beyond all memory"};
    made.innerBytes *= static_cast<int64_t>(*element);
    cache.all.push_back(std::move(made));
  }
  cache.memory.resize(static_cast<size_t>(rows));
  return cache;
}

void SessionCache::reserve(Resources &resources, int64_t row) {
  std::vector<std::shared_ptr<void>> made;
  if (!memory[row].empty())
    return;
  for (const CachedState &state : all)
    made.push_back(mustTakeShared(resources.cache, state.outer * capacity * state.innerBytes));
  memory[row] = std::move(made);
}

Tensor SessionCache::gather(Resources &resources, size_t state, const std::vector<int64_t> &rows,
                            const std::vector<int64_t> &lengths, int64_t longest,
                            std::shared_ptr<void> &owner) const {
  const CachedState &its = all[state];
  Tensor tensor;
  tensor.dtype = its.dtype;
  tensor.shape = its.dims;
  tensor.shape[0] = static_cast<int64_t>(rows.size());
  tensor.shape[its.axis] = longest;
  if (its.isKept()) {
    alignas(64) static const std::byte nothing[64] = {}; // code asks for the sizes alone
    tensor.data = nothing;
    tensor.bytes = checkpoint::tensorBytes(tensor.dtype, tensor.shape).value_or(0);
    return tensor;
  }
  int64_t block = longest * its.innerBytes, blocks = static_cast<int64_t>(rows.size()) * its.outer;
  owner = mustTakeShared(resources.cache, block * blocks);
  auto *to = static_cast<char *>(owner.get());
  forEach(resources, blocks, [&](int64_t i) {
    int64_t row = i / its.outer, own = lengths[row] * its.innerBytes;
    std::memset(to + i * block, 0, block - own);
    if (own)
      std::memcpy(to + i * block + (block - own), at(state, rows[row], i % its.outer, 0), own);
  });
  tensor.data = reinterpret_cast<const std::byte *>(to);
  tensor.bytes = static_cast<size_t>(block * blocks);
  return tensor;
}

Status SessionCache::append(Resources &resources, size_t state, const Output &present,
                            const std::vector<int64_t> &rows, const std::vector<int64_t> &lengths,
                            int64_t count) {
  const CachedState &its = all[state];
  std::vector<int64_t> expected = its.dims;
  expected[0] = static_cast<int64_t>(rows.size());
  expected[its.axis] = present.dims.size() == expected.size() ? present.dims[its.axis] : -1;
  if (present.dims != expected || present.dims[its.axis] < count)
    return Error{"the graph's continuation of '" + its.name + "' has shape " +
                 checkpoint::shapeText(present.dims)};
  int64_t positions = present.dims[its.axis], block = positions * its.innerBytes;
  const auto *from = static_cast<const char *>(present.data.get());
  forEach(resources, static_cast<int64_t>(rows.size()) * its.outer, [&](int64_t i) {
    int64_t row = i / its.outer;
    std::memcpy(at(state, rows[row], i % its.outer, lengths[row]),
                from + i * block + (positions - count) * its.innerBytes, count * its.innerBytes);
  });
  return Done{};
}

KeptRows SessionCache::keptRows(const std::vector<int64_t> &rows, const std::vector<int64_t> &lengths) const {
  KeptRows kept;
  kept.lengths = lengths;
  kept.capacities.assign(rows.size(), capacity);
  kept.memory.resize(all.size() * rows.size());
  for (size_t state = 0; state < all.size(); ++state)
    for (size_t i = 0; i < rows.size() && all[state].isKept(); ++i)
      kept.memory[all[state].kept * rows.size() + i] = memory[rows[i]][state].get();
  return kept;
}

void SessionCache::copy(int64_t from, int64_t to, int64_t length) {
  if (!length)
    return;
  for (size_t state = 0; state < all.size(); ++state) {
    const CachedState &its = all[state];
    int64_t copied = (length + its.block - 1) / its.block * its.block;
    for (int64_t outer = 0; outer < its.outer; ++outer)
      std::memcpy(at(state, to, outer, 0), at(state, from, outer, 0), copied * its.innerBytes);
  }
}

} // namespace adapter::runtime
