// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Lowerings of the adapter dialect's routers and experts.
#ifndef ADAPTER_LIB_CONVERSION_ONNXTOLINALG_EXPERTS_H
#define ADAPTER_LIB_CONVERSION_ONNXTOLINALG_EXPERTS_H

#include "dialects/Adapter/IR/AdapterOps.h"
#include "lib/Conversion/ONNXToLinalg/Lowering.h"

namespace adapter {

llvm::LogicalResult lowerRoute(RouteOp op, GraphLowering &graph);
llvm::LogicalResult lowerExperts(ExpertsOp op, GraphLowering &graph);

} // namespace adapter

#endif // ADAPTER_LIB_CONVERSION_ONNXTOLINALG_EXPERTS_H
