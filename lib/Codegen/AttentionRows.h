// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Functions that compute attention for some queries of one row and one head of keys; see LowerAttention.h.
#ifndef ADAPTER_LIB_CODEGEN_ATTENTIONROWS_H
#define ADAPTER_LIB_CODEGEN_ATTENTIONROWS_H

#include "lib/Codegen/KeyLayout.h"
#include "lib/Codegen/TileFunction.h"

namespace adapter {

/// What the functions for one kind of attention need to know.
struct AttentionKind {
  KeyLayout layout;
  float scale;
  std::optional<float> softcap;
  bool hasMask, causal, zeroMasked;
  int64_t window; ///< 0: none

  static AttentionKind of(kernel::AttentionOp op, int64_t columns);
};

/// Operands of a call; matrices are [queries, width], one head's after the other, T of each.
struct AttentionRows {
  mlir::Value query, output, keys, values, mask;
  mlir::Value length, tokens;   ///< L and T
  mlir::Value batch, firstHead; ///< which part of the mask counts
  mlir::Value begin, end;       ///< queries that are computed
};

/// Emits a call that computes some queries, at most queriesAtOnce(tiles) of them.
void callAttentionRows(mlir::ImplicitLocOpBuilder &b, TileFunctions &tiles, const AttentionKind &kind,
                       const AttentionRows &rows);
int64_t queriesAtOnce(const TileFunctions &tiles);

/// A view of some numbers.
mlir::MemRefType numbersType(mlir::Builder &b);
/// Any mask: [B or 1, heads or 1, T or 1, M], contiguous along M.
mlir::MemRefType maskType(mlir::Builder &b);

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_ATTENTIONROWS_H
