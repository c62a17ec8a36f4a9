// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Questions about the shapes of operands that verifiers ask; a size that is not known agrees with any.
#ifndef ADAPTER_DIALECTS_KERNEL_IR_SHAPECHECKS_H
#define ADAPTER_DIALECTS_KERNEL_IR_SHAPECHECKS_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Value.h"

namespace adapter::kernel {

inline mlir::ShapedType typeOf(mlir::Value value) { return mlir::cast<mlir::ShapedType>(value.getType()); }

inline bool disagree(int64_t a, int64_t b) {
  return !mlir::ShapedType::isDynamic(a) && !mlir::ShapedType::isDynamic(b) && a != b;
}

/// Whether dimension `i` of x and `j` of y may be of one size.
inline bool agree(mlir::Value x, int64_t i, mlir::Value y, int64_t j) {
  return !disagree(typeOf(x).getDimSize(i), typeOf(y).getDimSize(j));
}

} // namespace adapter::kernel

#endif // ADAPTER_DIALECTS_KERNEL_IR_SHAPECHECKS_H
