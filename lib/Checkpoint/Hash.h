// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// XXH3-128 as 32 hexadecimal digits: integrity, not authenticity.
#ifndef ADAPTER_LIB_CHECKPOINT_HASH_H
#define ADAPTER_LIB_CHECKPOINT_HASH_H

#include "lib/Checkpoint/Result.h"
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace adapter::checkpoint {

std::string hashBytes(const void *data, size_t size);
// Of several buffers as if they stood one behind the other.
std::string hashParts(const std::vector<std::string_view> &parts);
Result<std::string> hashFile(const std::string &path);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_HASH_H
