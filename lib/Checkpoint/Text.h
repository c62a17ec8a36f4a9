// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text from files: how it may be shown, how it starts and ends.
#ifndef ADAPTER_LIB_CHECKPOINT_TEXT_H
#define ADAPTER_LIB_CHECKPOINT_TEXT_H

#include <string>
#include <string_view>

namespace adapter::checkpoint {

// A message in one line of valid UTF-8: names in it come from files that may hold anything. Line ends and other
// control characters become blanks, bytes that are no UTF-8 become \xNN.
std::string printable(std::string_view text);

bool startsWith(std::string_view text, std::string_view start);
bool endsWith(std::string_view text, std::string_view end);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_TEXT_H
