// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Functions of whole rows that several lowerings are made of.
#ifndef ADAPTER_LIB_CONVERSION_ONNXTOLINALG_ROWFUNCTIONS_H
#define ADAPTER_LIB_CONVERSION_ONNXTOLINALG_ROWFUNCTIONS_H

#include "lib/Conversion/ONNXToLinalg/Lowering.h"

namespace adapter {

/// Softmax, or its logarithm, along an axis.
Lowered softmax(GraphLowering &graph, Lowered &x, int64_t axis, bool logarithm = false);

/// The `count` largest (or smallest) elements of each row of a matrix, and their positions (i64), in order.
std::pair<Lowered, Lowered> topK(GraphLowering &graph, Lowered &x, mlir::OpFoldResult count,
                                 bool smallest = false);

} // namespace adapter

#endif // ADAPTER_LIB_CONVERSION_ONNXTOLINALG_ROWFUNCTIONS_H
