// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a key of PEFT's files may hold beside module and parameter: wrappers of training, an adapter's name.
#ifndef ADAPTER_LIB_CHECKPOINT_PEFTKEYS_H
#define ADAPTER_LIB_CHECKPOINT_PEFTKEYS_H

#include <string>

namespace adapter::checkpoint {

// Without "base_model.model." in front and without what torch.compile, FSDP, checkpointing of activations and, in
// front alone, data parallelism put around modules.
std::string withoutWrappers(const std::string &key);

// Takes `end` off a path. An adapter's name may stand in it as in PEFT's modules, before what a module calls its own
// parameter (".lora_A.<name>.weight") or behind the end (".lora_embedding_A.<name>"); it goes to `name`, else "".
bool stripEnd(std::string &path, const std::string &end, std::string &name);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_PEFTKEYS_H
