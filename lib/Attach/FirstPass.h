// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Mixtures whose router is a classifier of a first pass (X-LoRA).
#ifndef ADAPTER_LIB_ATTACH_FIRSTPASS_H
#define ADAPTER_LIB_ATTACH_FIRSTPASS_H

#include "lib/Attach/Plan.h"

namespace adapter {

/// The last hidden state of a model, `width` wide: its output "last_hidden_state", else what its head reads, the linear
/// lm_head, embed_out, score or qa_outputs. An error that names what there is where neither is clear.
checkpoint::Result<mlir::Value> findHiddenState(const ModuleTable &table, int64_t width);

/// A use of a weight that a mixture acts on.
struct MixedUse {
  const PlannedParameter *parameter;
  unsigned use;
};

/// Called for each copy of a linear, once all are there: it may put another operation in its place.
using MakeFirst = llvm::function_ref<void(onnxir::NodeOp copy, const MixedUse &use)>;

/// Copies what leads from the linears to the hidden state, at the end of its block, and gives the copy's. What does not
/// depend on the linears is not copied.
mlir::Value copyFirstPass(mlir::Value hidden, llvm::ArrayRef<MixedUse> uses, MakeFirst makeFirst);

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_FIRSTPASS_H
