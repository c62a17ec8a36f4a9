// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tensors whose elements are a function of their indices.
#ifndef ADAPTER_LIB_COMPILE_GENERATE_H
#define ADAPTER_LIB_COMPILE_GENERATE_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace adapter {

using ElementBody =
    llvm::function_ref<mlir::Value(mlir::ImplicitLocOpBuilder &builder, mlir::ValueRange indices)>;

/// A tensor of dynamic sizes; `body` makes the element at `indices`.
mlir::Value generateTensor(mlir::ImplicitLocOpBuilder &builder, mlir::ValueRange sizes, mlir::Type element,
                           ElementBody body);

} // namespace adapter

#endif // ADAPTER_LIB_COMPILE_GENERATE_H
