// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Helpers of UpdateOpInterface::materialize.
#ifndef ADAPTER_DIALECTS_ADAPTER_IR_MATERIALIZEUTILS_H
#define ADAPTER_DIALECTS_ADAPTER_IR_MATERIALIZEUTILS_H

#include "dialects/Adapter/IR/AdapterOps.h"
#include "mlir/IR/AffineMap.h"

namespace adapter {

/// A float scalar as f64.
mlir::Value toF64(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value scalar);

using MapBody = llvm::function_ref<mlir::Value(mlir::OpBuilder &, mlir::Location, mlir::ValueRange)>;
/// The weight with every element replaced by what `body` makes of the inputs' elements and, last, its own,
/// all in f64. `maps` index the inputs by the weight's dimensions.
mlir::Value mapWeight(mlir::ImplicitLocOpBuilder &builder, mlir::Value weight, mlir::ValueRange inputs,
                      llvm::ArrayRef<mlir::AffineMap> maps, MapBody body);

/// from + factor * (to - from); `to` for a null factor.
mlir::Value interpolate(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value from, mlir::Value to,
                        mlir::Value factor);

/// Applies an update of few elements to a weight, element by element.
mlir::Value materializeTouched(mlir::ImplicitLocOpBuilder &builder, UpdateOpInterface update,
                               UpdateTarget target);

} // namespace adapter

#endif // ADAPTER_DIALECTS_ADAPTER_IR_MATERIALIZEUTILS_H
