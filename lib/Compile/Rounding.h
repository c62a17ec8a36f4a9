// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Merged weights in narrow types: rounding, and what it costs.
#ifndef ADAPTER_LIB_COMPILE_ROUNDING_H
#define ADAPTER_LIB_COMPILE_ROUNDING_H

#include "lib/Checkpoint/Result.h"
#include "lib/Checkpoint/Tensor.h"

namespace adapter {

/// An update that loses more than this share of itself to rounding is not worth merging.
inline constexpr double retainedErrorLimit = 0.1;

/// Whether weights of this type are too coarse to take every update.
bool isNarrow(checkpoint::DType type);

/// The tensor, of a narrow type, in f64.
checkpoint::Result<checkpoint::Tensor> widen(const checkpoint::Tensor &narrow);

/// An f64 tensor rounded once, to nearest even.
checkpoint::Tensor roundTo(const checkpoint::Tensor &wide, checkpoint::DType type);

/// |rounded - updated| / |updated - base| of f64 tensors and the narrow one, in Frobenius norms; 0 where
/// nothing is updated.
checkpoint::Result<double> retainedUpdateError(const checkpoint::Tensor &base,
                                               const checkpoint::Tensor &updated,
                                               const checkpoint::Tensor &rounded);

} // namespace adapter

#endif // ADAPTER_LIB_COMPILE_ROUNDING_H
