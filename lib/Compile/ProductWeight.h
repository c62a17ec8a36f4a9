// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What passes over the weights of products ask.
#ifndef ADAPTER_LIB_COMPILE_PRODUCTWEIGHT_H
#define ADAPTER_LIB_COMPILE_PRODUCTWEIGHT_H

#include "dialects/Kernel/IR/KernelOps.h"

namespace adapter {

/// A product's weight, where it has one that is of f32; else null.
inline mlir::OpOperand *wideWeightOf(mlir::Operation *op) {
  if (auto linear = mlir::dyn_cast<kernel::LinearOp>(op); linear && !linear.getFormatAttr())
    return &linear.getWeightMutable();
  if (auto linear = mlir::dyn_cast<kernel::RowLinearOp>(op);
      linear && linear.getWeight() && !linear.getFormatAttr())
    return &*linear.getWeightMutable().begin();
  return nullptr;
}

} // namespace adapter

#endif // ADAPTER_LIB_COMPILE_PRODUCTWEIGHT_H
