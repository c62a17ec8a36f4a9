// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The words of enumerations, in the order of their values: what files, manifests and reports say for them.
#ifndef ADAPTER_LIB_CHECKPOINT_WORDS_H
#define ADAPTER_LIB_CHECKPOINT_WORDS_H

#include <cstddef>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>

namespace adapter::checkpoint {

// Specialised beside each enumeration: an array of its words.
template <typename Enum>
inline constexpr const char *wordsOf[1] = {nullptr};

template <typename Enum>
constexpr const char *word(Enum value) {
  return wordsOf<Enum>[static_cast<size_t>(value)];
}

// The value that a word means, or nothing.
template <typename Enum>
std::optional<Enum> named(std::string_view text) {
  for (size_t i = 0; i < std::size(wordsOf<Enum>); ++i)
    if (text == wordsOf<Enum>[i])
      return static_cast<Enum>(i);
  return std::nullopt;
}

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_WORDS_H
