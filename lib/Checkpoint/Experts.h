// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What readers of mixtures share: experts that are LoRA folders of their own, and stacking them module by module.
#ifndef ADAPTER_LIB_CHECKPOINT_EXPERTS_H
#define ADAPTER_LIB_CHECKPOINT_EXPERTS_H

#include "lib/Checkpoint/Mixture.h"
#include "lib/Checkpoint/PeftConfig.h"
#include <map>
#include <string>
#include <vector>

namespace adapter::checkpoint {

// One expert's factors in one module.
struct Expert {
  Tensor a, b; // [rank, in], [out, rank]
  double scale = 1;
};

// By module, the experts that adapt it by their number.
using ExpertsByModule = std::map<std::string, std::map<int64_t, Expert>>;

// Where the LoRA folder of an expert is: `path` is relative to `folder` and stays in the folder around it.
Result<std::string> expertFolder(const PeftConfig &config, const std::string &field,
                                 const std::string &folder, const std::string &path);

// Reads a LoRA folder and nothing else; in Peft.cpp.
Result<Adapter> readLoraFolder(const std::string &folder);

// Reads the folders of all experts; `hashes` gets those of their contents. Anything but plain LoRAs on linears is an
// error that names it.
Result<ExpertsByModule> readExperts(const std::vector<std::string> &folders, std::string &hashes);

// The factors of `count` experts, one behind the other in float32, times their scales and `scale`; experts that do not
// adapt the module have rank 0. Sets the update's tensors A and B and its rank; `ranks` gets each expert's.
Status stackExperts(const std::map<int64_t, Expert> &experts, int64_t count, double scale, Update &update,
                    std::vector<int64_t> &ranks);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_EXPERTS_H
