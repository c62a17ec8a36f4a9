// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The function that computes a product's rows with a factor of low rank, one vector of columns at a time.
#ifndef ADAPTER_LIB_CODEGEN_FACTORTILE_H
#define ADAPTER_LIB_CODEGEN_FACTORTILE_H

#include "lib/Codegen/TileFunction.h"

namespace adapter {

/// Emits a call that computes factor * input [m, k] weight [panels, k, lanes] into rows [begin, end) and the columns of
/// `panel` of output [m, panels * lanes]. Matrices may be strided by row. A row's result does not depend on
/// which others are computed with it.
void callFactorTile(mlir::ImplicitLocOpBuilder &b, const TileFunctions &tiles, mlir::Value input,
                    mlir::Value weight, mlir::Value output, mlir::Value panel, mlir::Value begin,
                    mlir::Value end, mlir::Value factor);

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_FACTORTILE_H
