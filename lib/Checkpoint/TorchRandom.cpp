// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See TorchRandom.h.
#include "lib/Checkpoint/TorchRandom.h"
#include <algorithm>
#include <cmath>
#include <unordered_map>

namespace adapter::checkpoint {

static constexpr double pi = 3.14159265358979323846;

std::vector<float> TorchGenerator::uniform(int64_t count, double from, double to) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float &value : values) {
    float x = static_cast<float>(word() & 0xFFFFFF) * 0x1p-24f;
    value = x * static_cast<float>(to - from) + static_cast<float>(from);
  }
  return values;
}

double TorchGenerator::wide() {
  return static_cast<double>(longWord() & ((uint64_t(1) << 53) - 1)) * 0x1p-53;
}

// Box and Muller's transform, of blocks of 16 uniform numbers, the last block overlapping the one before; of less than 16
// numbers in pairs of doubles.
std::vector<float> TorchGenerator::normal(int64_t count, double deviation) {
  auto size = static_cast<size_t>(count);
  if (size < 16) {
    std::vector<float> values;
    while (values.size() < size) {
      double first = wide(), second = wide();
      double radius = std::sqrt(-2.0 * std::log1p(-second)), angle = 2.0 * pi * first;
      values.push_back(static_cast<float>(radius * std::cos(angle) * deviation));
      if (values.size() < size)
        values.push_back(static_cast<float>(radius * std::sin(angle) * deviation));
    }
    return values;
  }
  std::vector<float> values = uniform(count);
  auto transform = [&](size_t start) {
    for (size_t j = start; j < start + 8; ++j) {
      float u = 1.0f - values[j], v = values[j + 8];
      double radius = std::sqrt(-2.0 * std::log(static_cast<double>(u))), angle = 2.0 * pi * v;
      values[j] = static_cast<float>(radius * std::cos(angle) * deviation);
      values[j + 8] = static_cast<float>(radius * std::sin(angle) * deviation);
    }
  };
  for (size_t start = 0; start + 16 <= size; start += 16)
    transform(start);
  if (size % 16) {
    std::vector<float> last = uniform(16);
    std::copy(last.begin(), last.end(), values.end() - 16);
    transform(size - 16);
  }
  return values;
}

std::vector<int64_t> TorchGenerator::permutation(int64_t n, int64_t count) {
  count = std::min(count, n);
  std::vector<int64_t> result;
  result.reserve(static_cast<size_t>(count));
  if (n <
      214748364) { // 2^32 / 20: a word for each place, and entries that no step has moved are their own place
    std::unordered_map<int64_t, int64_t> moved;
    auto at = [&](int64_t place) {
      auto found = moved.find(place);
      return found == moved.end() ? place : found->second;
    };
    for (int64_t i = 0; i < count; ++i) {
      int64_t other = i + 1 < n ? i + static_cast<int64_t>(word() % static_cast<uint64_t>(n - i)) : i;
      int64_t here = at(i);
      result.push_back(at(other));
      moved[other] = here;
    }
    return result;
  }
  std::vector<int64_t> all(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    auto z = static_cast<size_t>(longWord() % static_cast<uint64_t>(i + 1));
    all[static_cast<size_t>(i)] = i;
    std::swap(all[static_cast<size_t>(i)], all[z]);
  }
  return {all.begin(), all.begin() + count};
}

} // namespace adapter::checkpoint
