// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How operators pass on rows and tokens. A value that is computed while a node is lowered has what the helpers of
// GraphLowering carry; what the node's results have is said by a table, one row per operator, and by nothing else.
#ifndef ADAPTER_LIB_CONVERSION_ONNXTOLINALG_PROVENANCE_H
#define ADAPTER_LIB_CONVERSION_ONNXTOLINALG_PROVENANCE_H

#include "lib/Conversion/ONNXToLinalg/Lowering.h"

namespace adapter {

// What loses rows, as messages say it of a node.
inline constexpr const char *worksAlong = "works along their axis";
inline constexpr const char *picksAmong = "picks among them";
inline constexpr const char *bringsTogether = "brings them together from different axes";
inline constexpr const char *reshapesThem = "reshapes them in a way that cannot be followed";
inline constexpr const char *sharesThem = "reads them where it takes one operand for all";
inline constexpr const char *isUnknown = "is not known to keep them apart";

/// Sets the provenance of a lowered node's results by the row of its operator. An operator without one loses all.
void traceResults(onnxir::NodeOp node, GraphLowering &graph);

/// Whether an operator treats each position alike, broadcasting its operands.
bool isElementwise(onnxir::NodeOp node);

/// Rows of what is reduced over `axes`.
Rows reducedRows(GraphLowering &graph, Rows rows, llvm::ArrayRef<int64_t> axes, bool keepDims);

/// Rows of a product of x [batch..., m, k] and y [batch..., k, n] ([batch..., n, k] where it is transposed).
Rows productRows(GraphLowering &graph, RowFact fact, Rows x, int64_t xRank, Rows y, int64_t yRank,
                 bool transposed);

/// The axes that a reduction's attributes or operand name; all where they name none.
llvm::FailureOr<llvm::SmallVector<int64_t>> reducedAxes(onnxir::NodeOp node, GraphLowering &graph,
                                                        int64_t rank);

} // namespace adapter

#endif // ADAPTER_LIB_CONVERSION_ONNXTOLINALG_PROVENANCE_H
