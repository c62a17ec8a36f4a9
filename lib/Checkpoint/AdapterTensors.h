// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What every reader of adapters demands of a file's tensors, whatever the format.
#ifndef ADAPTER_LIB_CHECKPOINT_ADAPTERTENSORS_H
#define ADAPTER_LIB_CHECKPOINT_ADAPTERTENSORS_H

#include "lib/Checkpoint/Safetensors.h"
#include <string>
#include <vector>

namespace adapter::checkpoint {

// There are some, none is empty, all are finite; those of 8 bit floats become float32, which holds them exactly.
Status checkTensors(const std::string &file, std::vector<Tensor> &tensors);

// A safetensors file whose tensors were checked.
Result<Safetensors> readAdapterTensors(const std::string &file);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_ADAPTERTENSORS_H
