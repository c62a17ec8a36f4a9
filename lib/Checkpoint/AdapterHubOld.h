// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What adapter-transformers wrote before it became `adapters` 1.0, in today's words.
#ifndef ADAPTER_LIB_CHECKPOINT_ADAPTERHUBOLD_H
#define ADAPTER_LIB_CHECKPOINT_ADAPTERHUBOLD_H

#include "lib/Checkpoint/PeftConfig.h"
#include <string>

namespace adapter::checkpoint {

// The configuration under "config" of a folder: a dictionary, or the name of one ("pfeiffer").
Result<PeftConfig> currentHubConfig(const PeftConfig &folder, const Safetensors &tensors);

// A tensor's key: "attention_text_task_adapters", "layer_text_lang_adapters" and their like are "adapters".
std::string currentHubKey(std::string key);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_ADAPTERHUBOLD_H
