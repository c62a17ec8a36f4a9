// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Attention as blocks of queries and keys; a part of kernel-lower-products.
#ifndef ADAPTER_LIB_CODEGEN_LOWERATTENTION_H
#define ADAPTER_LIB_CODEGEN_LOWERATTENTION_H

#include "lib/Codegen/TileFunction.h"

namespace adapter {

/// Emits kernel.attention on buffers. Keys and values lie as KeyLayout says: products with either are those with packed
/// weights.
void lowerAttention(kernel::AttentionOp op, TileFunctions &tiles);

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_LOWERATTENTION_H
