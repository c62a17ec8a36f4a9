// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// ONNX's own operator Attention as adapter.attention; a part of adapter-raise-attention.
#ifndef ADAPTER_LIB_CONVERSION_ONNXTOADAPTER_ATTENTIONNODES_H
#define ADAPTER_LIB_CONVERSION_ONNXTOADAPTER_ATTENTIONNODES_H

#include "dialects/ONNX/IR/ONNXOps.h"

namespace adapter {

/// Puts adapter.attention in the place of a node of Attention, and a Concat in that of what continues its past. Returns
/// false, and changes nothing, where the node asks for more.
bool raiseAttentionNode(onnxir::NodeOp node);

} // namespace adapter

#endif // ADAPTER_LIB_CONVERSION_ONNXTOADAPTER_ATTENTIONNODES_H
