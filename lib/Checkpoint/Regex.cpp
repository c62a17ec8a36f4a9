// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Regular expressions; see Regex.h.
#include "lib/Checkpoint/Regex.h"
#include "lib/Checkpoint/Text.h"
#include <regex>
#include <string_view>

namespace adapter::checkpoint {

namespace {

struct Translated {
  std::string text; // of ECMAScript
  bool anyCase = false;
};

// An escape of Python's: most are the same, \\A and \\Z are ^ and $, and other letters would be taken as themselves.
bool addEscape(char c, bool inClass, std::string &text) {
  if (c == 'A' || c == 'Z') {
    text += c == 'A' ? '^' : '$';
    return !inClass;
  }
  bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  static constexpr std::string_view same = "bBdDsSwWfnrtv";
  if (letter && same.find(c) == std::string_view::npos)
    return false;
  text += {'\\', c};
  return !(inClass && (c == 'b' || c == 'B'));
}

// A set [...], from behind its bracket on; `i` is left at its end. Classes like [:alpha:] are ECMAScript's alone.
bool addSet(std::string_view from, size_t &i, std::string &text) {
  size_t start = i;
  for (; i < from.size(); ++i) {
    bool first = i == start || (i == start + 1 && from[start] == '^');
    if (from[i] == ']')
      return text += ']', !first; // Python takes a first one as itself
    if (from[i] == '[')
      return false;
    if (from[i] != '\\')
      text += from[i];
    else if (++i == from.size() || !addEscape(from[i], /*inClass=*/true, text))
      return false;
  }
  return false;
}

std::optional<Translated> translate(std::string_view from) {
  Translated result;
  if (startsWith(from, "(?i)")) {
    result.anyCase = true;
    from.remove_prefix(4);
  }
  for (size_t i = 0; i < from.size(); ++i) {
    char c = from[i], next = i + 1 < from.size() ? from[i + 1] : '\0';
    result.text += c == '\\' ? std::string() : std::string(1, c);
    if (c == '\\') {
      if (++i == from.size() || !addEscape(from[i], /*inClass=*/false, result.text))
        return std::nullopt;
    } else if (c == '[') {
      if (!addSet(from, ++i, result.text))
        return std::nullopt;
    } else if ((c == '*' || c == '+' || c == '?' || c == '}') && next == '+') {
      return std::nullopt; // possessive
    } else if (c == '(' && next == '?') {
      std::string_view rest = from.substr(i + 2);
      if (startsWith(rest, "P<")) {
        size_t end = rest.find('>');
        if (end == std::string_view::npos)
          return std::nullopt;
        i += 2 + end;
      } else if (!startsWith(rest, ":") && !startsWith(rest, "=") && !startsWith(rest, "!")) {
        return std::nullopt;
      }
    }
  }
  return result;
}

} // namespace

std::optional<bool> regexMatches(const std::string &pattern, const std::string &text) {
  std::optional<Translated> translated = translate(pattern);
  if (!translated)
    return std::nullopt;
  // The polynomial matcher of libstdc++ neither hangs nor recurses deeply, whatever the pattern.
  auto flags = std::regex::ECMAScript | std::regex_constants::__polynomial;
  if (translated->anyCase)
    flags |= std::regex::icase;
  try {
    return std::regex_match(text, std::regex(translated->text, flags));
  } catch (const std::regex_error &) {
    return std::nullopt;
  }
}

} // namespace adapter::checkpoint
