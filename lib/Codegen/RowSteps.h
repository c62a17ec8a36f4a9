// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The function that runs an entry's steps on rows, see adapter-rt/artifact.h.
#ifndef ADAPTER_LIB_CODEGEN_ROWSTEPS_H
#define ADAPTER_LIB_CODEGEN_ROWSTEPS_H

#include "lib/Codegen/TileFunction.h"

namespace adapter {

/// An entry's steps, and where they read and write.
struct RowSteps {
  mlir::Value table;            ///< [steps, ADAPTER_STEP_WORDS] of i64
  mlir::Value numbers, indices; ///< [..] of f32 and i64
  mlir::Value input, result;    ///< [positions, width]; may be strided by row
  mlir::Value temporaries;      ///< [positions, as many columns as they need]
  mlir::Value width;            ///< of each temporary
};

/// Emits a call that runs steps [first, last) on rows [begin, end). What a row gets does not depend on the others.
void callRowSteps(mlir::ImplicitLocOpBuilder &b, const TileFunctions &tiles, const RowSteps &steps,
                  mlir::Value first, mlir::Value last, mlir::Value begin, mlir::Value end);

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_ROWSTEPS_H
