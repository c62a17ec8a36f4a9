// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// PEFT's folders as the commands write them.
#ifndef ADAPTER_LIB_DIFF_FOLDER_H
#define ADAPTER_LIB_DIFF_FOLDER_H

#include "lib/Checkpoint/Json.h"
#include "lib/Checkpoint/Result.h"
#include "lib/Checkpoint/Tensor.h"
#include <map>
#include <string>
#include <vector>

namespace adapter::diff {

// Names the modules of a LoRA in its configuration, each with its rank and a scale of 1.
void addRanks(checkpoint::Json &config, const std::map<std::string, int64_t> &ranks);

// Writes adapter_model.safetensors and adapter_config.json into `folder`, which must not be there or be empty, all or
// nothing.
checkpoint::Status writeAdapter(const std::string &folder, const std::vector<checkpoint::Tensor> &tensors,
                                const checkpoint::Json &config);

} // namespace adapter::diff

#endif // ADAPTER_LIB_DIFF_FOLDER_H
