// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// NumPy's files: .npy in both directions, .npz for writing.
#ifndef ADAPTER_LIB_CHECKPOINT_NPY_H
#define ADAPTER_LIB_CHECKPOINT_NPY_H

#include "lib/Checkpoint/Result.h"
#include "lib/Checkpoint/Tensor.h"
#include <string>
#include <vector>

namespace adapter::checkpoint {

// Reads versions 1 to 3 with plain types. Big-endian and Fortran order become little-endian and C order.
Result<Tensor> readNpy(const std::string &path);

// The text before the data. bfloat16 and the 8-bit floats, which NumPy lacks, become raw types (V2, V1).
Result<std::string> npyHeader(const Tensor &tensor);

// An uncompressed archive of the tensors under their `key`s, in order; written by rename.
Status writeNpz(const std::string &path, const std::vector<Tensor> &tensors);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_NPY_H
