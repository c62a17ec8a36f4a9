// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The function that finds out, before a linear runs, what the adapters of a call do at its site.
#ifndef ADAPTER_LIB_CODEGEN_ROWSURVEY_H
#define ADAPTER_LIB_CODEGEN_ROWSURVEY_H

#include "lib/Codegen/TileFunction.h"

namespace adapter {

/// What is in a row of the survey's table.
enum SpanField { kBegin, kEnd, kFirst, kCount };

/// The table has a row for each segment, then one for each piece: at most a tile's rows of a segment. Both are positions
/// [begin, end) and the assignments [first, first + count) that act on them.
struct RowSurvey {
  mlir::Value segments, pieces;
  mlir::Value width;     ///< the most columns that a segment's products with `down` have
  mlir::Value anyBeside; ///< whether a change is no plain sum, so that it is made beside the output
  mlir::Value anySparse;
  mlir::Value anySteps;    ///< whether any has steps
  mlir::Value anyBefore;   ///< whether any of these come before the base's product
  mlir::Value temporaries; ///< the most elements of a row that they need
};

/// Room that the table needs, in rows.
mlir::Value surveyRows(mlir::ImplicitLocOpBuilder &b, const TileFunctions &tiles, mlir::Value positions);
/// Emits a call that fills `table` [rows, 4] of index.
RowSurvey callRowSurvey(mlir::ImplicitLocOpBuilder &b, const TileFunctions &tiles, mlir::Value bank,
                        mlir::Value positions, mlir::Value table);

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_ROWSURVEY_H
