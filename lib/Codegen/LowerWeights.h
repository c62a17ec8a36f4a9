// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Weights made out of weights; a part of kernel-lower-products.
#ifndef ADAPTER_LIB_CODEGEN_LOWERWEIGHTS_H
#define ADAPTER_LIB_CODEGEN_LOWERWEIGHTS_H

#include "dialects/Kernel/IR/KernelOps.h"

namespace adapter {

/// Lowers the op to loops over tiles of at most `accumulators` vectors of `lanes` f32. What a weight is packed by need
/// not be the width of the products' tiles.
void lowerUpdateWeight(kernel::UpdateWeightOp op, int64_t lanes, int64_t accumulators);

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_LOWERWEIGHTS_H
