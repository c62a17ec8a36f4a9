// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// JSON; see Json.h.
#include "lib/Checkpoint/Json.h"
#include <set>
#include <vector>

namespace adapter::checkpoint {

namespace {

constexpr size_t maxDepth = 64;

// Walks the text without building a value and stops at what nlohmann would accept and we do not.
struct Checker {
  std::string problem;
  std::vector<std::set<std::string>> keys;

  bool open() {
    if (keys.size() == maxDepth) {
      problem = "nested deeper than " + std::to_string(maxDepth) + " levels";
      return false;
    }
    keys.emplace_back();
    return true;
  }
  bool close() {
    keys.pop_back();
    return true;
  }
  bool null() { return true; }
  bool boolean(bool) { return true; }
  bool number_integer(Json::number_integer_t) { return true; }
  bool number_unsigned(Json::number_unsigned_t) { return true; }
  bool number_float(Json::number_float_t, const std::string &) { return true; }
  bool string(std::string &) { return true; }
  bool binary(Json::binary_t &) { return true; }
  bool start_object(size_t) { return open(); }
  bool end_object() { return close(); }
  bool start_array(size_t) { return open(); }
  bool end_array() { return close(); }
  bool key(std::string &name) {
    if (keys.back().insert(name).second)
      return true;
    problem = "the key '" + name + "' stands there twice";
    return false;
  }
  bool parse_error(size_t position, const std::string &, const nlohmann::detail::exception &) {
    problem = "no JSON: syntax error at byte " + std::to_string(position);
    return false;
  }
};

} // namespace

Result<Json> parseJson(std::string_view text, const std::string &what) {
  Checker checker;
  if (!Json::sax_parse(text.begin(), text.end(), &checker))
    return Error{what + ": " + checker.problem};
  Json value = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded())
    return Error{what + ": no JSON"};
  return value;
}

} // namespace adapter::checkpoint
