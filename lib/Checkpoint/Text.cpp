// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Text.h.
#include "lib/Checkpoint/Text.h"
#include <algorithm>
#include <cstdint>
#include <cstdio>

namespace adapter::checkpoint {

// Length of the UTF-8 sequence that begins a text, 0 where none does (Unicode 16, table 3-7).
static size_t sequenceLength(std::string_view text) {
  auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : 0; };
  uint8_t first = byte(0);
  if (first < 0x80)
    return 1;
  size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  if (first < 0xC2 || first > 0xF4 || byte(1) < low || byte(1) > high)
    return 0;
  for (size_t i = 2; i < length; ++i)
    if (byte(i) < 0x80 || byte(i) > 0xBF)
      return 0;
  return length;
}

std::string printable(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    size_t length = sequenceLength(text);
    if (length == 0) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<uint8_t>(text[0]));
      result += escaped;
      length = 1;
    } else if (length == 1 && (static_cast<uint8_t>(text[0]) < 0x20 || text[0] == 0x7f)) {
      result += ' ';
    } else {
      result += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return result;
}

std::string quotable(std::string_view text) {
  constexpr size_t longest = 80;
  return text.size() <= longest ? std::string(text) : std::string(text.substr(0, longest)) + " ..";
}

bool startsWith(std::string_view text, std::string_view start) {
  return text.size() >= start.size() && text.compare(0, start.size(), start) == 0;
}

bool endsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

std::string putIn(std::string_view message, const int64_t *values, int count) {
  std::string result;
  for (size_t i = 0; i < message.size(); ++i) {
    int number =
        i + 2 < message.size() && message[i] == '{' && message[i + 2] == '}' ? message[i + 1] - '0' : -1;
    bool stands = number >= 0 && number < count && number <= 9;
    result += stands ? std::to_string(values[number]) : std::string(1, message[i]);
    i += stands ? 2 : 0;
  }
  return result;
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// The edit distance of two words, in which swapping neighbours is one edit and capitals do not count; `most` + 1 where it
// is more.
static size_t distance(const std::string &x, const std::string &y, size_t most) {
  if (x.size() > y.size() + most || y.size() > x.size() + most)
    return most + 1;
  std::vector<size_t> older, before(y.size() + 1), row(y.size() + 1);
  for (size_t j = 0; j <= y.size(); ++j)
    before[j] = j;
  for (size_t i = 1; i <= x.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= y.size(); ++j) {
      row[j] =
          std::min({before[j] + 1, row[j - 1] + 1, before[j - 1] + (lower(x[i - 1]) != lower(y[j - 1]))});
      if (i > 1 && j > 1 && x[i - 1] == y[j - 2] && x[i - 2] == y[j - 1])
        row[j] = std::min(row[j], older[j - 2] + 1);
    }
    older = before;
    before = row;
  }
  return before[y.size()];
}

std::string nearestName(const std::string &wrong, const std::vector<std::string> &names) {
  constexpr size_t longest = 256; // names from files may be of any length, and the work grows with its square
  const std::string *nearest = nullptr;
  size_t least = std::max<size_t>(1, wrong.size() / 3) + 1;
  for (const std::string &name : names)
    if (wrong.size() <= longest && name.size() <= longest)
      if (size_t far = distance(wrong, name, least); far < least && far < name.size()) {
        least = far;
        nearest = &name;
      }
  return nearest ? *nearest : "";
}

std::string didYouMean(const std::string &wrong, const std::vector<std::string> &names) {
  std::string nearest = nearestName(wrong, names);
  return nearest.empty() ? "" : "; did you mean '" + nearest + "'?";
}

} // namespace adapter::checkpoint
