// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Python's regular expressions, as far as the standard library's can say the same.
#ifndef ADAPTER_LIB_CHECKPOINT_REGEX_H
#define ADAPTER_LIB_CHECKPOINT_REGEX_H

#include <optional>
#include <string>

namespace adapter::checkpoint {

// Python's re.fullmatch. Nothing where the expression says what cannot be said here (lookbehind, flags but a leading
// (?i), possessive quantifiers, references), or is not one at all.
std::optional<bool> regexMatches(const std::string &pattern, const std::string &text);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_REGEX_H
