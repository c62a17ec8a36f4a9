// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Helpers around maps that forms are made of.
#ifndef ADAPTER_DIALECTS_ADAPTER_IR_MAPUTILS_H
#define ADAPTER_DIALECTS_ADAPTER_IR_MAPUTILS_H

#include "dialects/Adapter/IR/AdapterOps.h"

namespace adapter {

/// The op that makes a map. Inside of a form there always is one.
MapOpInterface definingMap(mlir::Value map);

/// A tensor of f64 that holds zeros.
mlir::Value zeroTensor(mlir::ImplicitLocOpBuilder &builder, mlir::ValueRange sizes);

/// A factor of a product of maps.
struct MapFactor {
  MapOpInterface map;
  bool adjoint;
};
/// A map as a product, chains and adjoints resolved: the last factor acts first. Empty: the identity.
llvm::SmallVector<MapFactor> factorsOf(mlir::Value map, bool adjoint = false);
/// A map as a sum of such products.
llvm::SmallVector<llvm::SmallVector<MapFactor>> termsOf(mlir::Value map);

/// A product of maps as that of two matrices [m, r] and [r, n]; null for the first where one matrix [m, n] is all.
struct DenseFactors {
  mlir::Value outer, inner;
};
/// Emits them. `columns` is n, for products that have no matrix.
DenseFactors denseFactors(mlir::ImplicitLocOpBuilder &builder, llvm::ArrayRef<MapFactor> factors,
                          mlir::Value columns);

} // namespace adapter

#endif // ADAPTER_DIALECTS_ADAPTER_IR_MAPUTILS_H
