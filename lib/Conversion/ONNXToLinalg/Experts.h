// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Lowerings of the adapter dialect's attention, routers and experts.
#ifndef ADAPTER_LIB_CONVERSION_ONNXTOLINALG_EXPERTS_H
#define ADAPTER_LIB_CONVERSION_ONNXTOLINALG_EXPERTS_H

#include "dialects/Adapter/IR/AdapterOps.h"
#include "lib/Conversion/ONNXToLinalg/Lowering.h"

namespace adapter {

llvm::LogicalResult lowerAttention(AttentionOp op, GraphLowering &graph);
llvm::LogicalResult lowerRoute(RouteOp op, GraphLowering &graph);
llvm::LogicalResult lowerExperts(ExpertsOp op, GraphLowering &graph);

/// Runs the experts on `count` rows that lie together by expert, by the offsets of a dispatch: their products.
using RunExperts =
    llvm::function_ref<mlir::Value(mlir::Value rows, mlir::OpFoldResult count, mlir::Value offsets)>;

/// The result of experts that have ranks. They are in expertOrder.
mlir::Value lowerPartitionedExperts(ExpertsOp op, GraphLowering &graph, RunExperts run);
/// Experts by rank, then by number; empty where none are placed.
llvm::SmallVector<int64_t> expertOrder(ExpertsOp op);

} // namespace adapter

#endif // ADAPTER_LIB_CONVERSION_ONNXTOLINALG_EXPERTS_H
