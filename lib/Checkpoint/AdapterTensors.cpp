// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tensors of adapters; see AdapterTensors.h.
#include "lib/Checkpoint/AdapterTensors.h"
#include "lib/Checkpoint/DType.h"

namespace adapter::checkpoint {

Status checkTensors(const std::string &file, std::vector<Tensor> &tensors) {
  if (tensors.empty())
    return Error{file + ": holds no tensors"};
  for (Tensor &tensor : tensors) {
    if (tensor.bytes == 0)
      return Error{file + ": tensor '" + tensor.key + "' is empty, of shape " + shapeText(tensor.shape) +
                   "; parameters that were partitioned in training must be gathered before saving"};
    if (!allFinite(tensor))
      return Error{file + ": tensor '" + tensor.key + "' holds NaN or infinite values"};
    if (!isFloat8(tensor.dtype))
      continue;
    Result<Tensor> wide = toF32(tensor);
    if (!wide)
      return Error{file + ": " + wide.error().message};
    tensor = std::move(*wide);
  }
  return Done{};
}

Result<Safetensors> readAdapterTensors(const std::string &file) {
  Result<Safetensors> tensors = readSafetensors(file);
  if (!tensors)
    return tensors;
  if (Status status = checkTensors(file, tensors->tensors); !status)
    return status.error();
  return tensors;
}

} // namespace adapter::checkpoint
