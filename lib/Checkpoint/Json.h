// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// JSON of checkpoints: nlohmann's parser behind checks that it leaves to its user (duplicate keys, depth).
#ifndef ADAPTER_LIB_CHECKPOINT_JSON_H
#define ADAPTER_LIB_CHECKPOINT_JSON_H

#include "lib/Checkpoint/Result.h"
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace adapter::checkpoint {

// Keeps the order of keys: in rank_pattern the first match wins.
using Json = nlohmann::ordered_json;

// Refuses duplicate keys and nesting beyond 64 levels. `what` names the text in messages.
Result<Json> parseJson(std::string_view text, const std::string &what);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_JSON_H
