// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Indices computed in the graph, for operators that read or write at them.
#ifndef ADAPTER_LIB_CONVERSION_ONNXTOLINALG_INDICES_H
#define ADAPTER_LIB_CONVERSION_ONNXTOLINALG_INDICES_H

#include "lib/Conversion/ONNXToLinalg/Lowering.h"

namespace adapter {

/// An index of the graph as a position in [0, size): negative ones count from the end. One out of range fails
/// the call.
mlir::Value checkedIndex(mlir::ImplicitLocOpBuilder &b, mlir::Value index, mlir::Value size,
                         const std::string &who);

} // namespace adapter

#endif // ADAPTER_LIB_CONVERSION_ONNXTOLINALG_INDICES_H
