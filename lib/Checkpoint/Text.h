// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text from files and users: how it may be shown, how it starts and ends, what it may have been meant to be.
#ifndef ADAPTER_LIB_CHECKPOINT_TEXT_H
#define ADAPTER_LIB_CHECKPOINT_TEXT_H

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace adapter::checkpoint {

// A message in one line of valid UTF-8: names in it come from files that may hold anything. Line ends and other
// control characters become blanks, bytes that are no UTF-8 become \xNN.
std::string printable(std::string_view text);

// A text as messages quote it: not more of it than shows which one it is.
std::string quotable(std::string_view text);

bool startsWith(std::string_view text, std::string_view start);
bool endsWith(std::string_view text, std::string_view end);

// A message with values in the place of "{0}", "{1}" and so on. What else is in braces stays.
std::string putIn(std::string_view message, const int64_t *values, int count);

// The name that a wrong one is most like; "" where it is like none.
std::string nearestName(const std::string &wrong, const std::vector<std::string> &names);

// What stands behind "there is no 'nmae'" where one of the names looks like it: "; did you mean 'name'?", else nothing.
std::string didYouMean(const std::string &wrong, const std::vector<std::string> &names);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_TEXT_H
