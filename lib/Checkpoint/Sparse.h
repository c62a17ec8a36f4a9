// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sparse updates as every reader of them hands them on.
#ifndef ADAPTER_LIB_CHECKPOINT_SPARSE_H
#define ADAPTER_LIB_CHECKPOINT_SPARSE_H

#include "lib/Checkpoint/Adapter.h"

namespace adapter::checkpoint {

// Fills the roles `indices` and `values` of a sparse update from coordinates [rank of the tensor, n],
// integers or whole floats, and values [n]: int64, ascending in row-major order. A coordinate that is negative,
// fractional or there twice is an error that names the tensor.
Status setSparse(const std::string &file, const Tensor &indices, const Tensor &values, Update &update);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_SPARSE_H
