// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Folders of AdapterHub's `adapters`, for Peft.cpp, which finds out what a folder is.
#ifndef ADAPTER_LIB_CHECKPOINT_ADAPTERHUB_H
#define ADAPTER_LIB_CHECKPOINT_ADAPTERHUB_H

#include "lib/Checkpoint/PeftConfig.h"
#include <string>
#include <vector>

namespace adapter::checkpoint {

// Whether an adapter_config.json is one of `adapters` rather than PEFT's.
bool isAdapterHub(const PeftConfig &config);

// Reads such a folder; `files` gets those that were read beside the configuration.
Status readAdapterHub(const PeftConfig &config, const std::string &folder, Adapter &adapter,
                      std::vector<std::string> &files);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_ADAPTERHUB_H
