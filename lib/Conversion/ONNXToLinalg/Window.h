// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Windows that slide over an input, for convolutions and pooling.
#ifndef ADAPTER_LIB_CONVERSION_ONNXTOLINALG_WINDOW_H
#define ADAPTER_LIB_CONVERSION_ONNXTOLINALG_WINDOW_H

#include "lib/Conversion/ONNXToLinalg/Lowering.h"

namespace adapter {

/// Sizes of a sliding window over the spatial dimensions [2, rank).
struct Window {
  llvm::SmallVector<int64_t> kernel, strides, dilations, before, after;
  llvm::SmallVector<mlir::OpFoldResult> output;
  bool reachesBeyond = false; ///< though nothing is padded
};

/// The attributes of a Conv or a pool, and the sizes of the result.
llvm::FailureOr<Window> readWindow(onnxir::NodeOp node, GraphLowering &graph, Lowered &x,
                                   llvm::ArrayRef<int64_t> kernel);

/// x[n, c, o * stride - before + k * dilation] or `fill` outside. Where `inside` is given, whether it is inside
/// (null: always).
mlir::Value readWindowElement(mlir::ImplicitLocOpBuilder &b, mlir::Value source,
                              llvm::ArrayRef<mlir::Value> limits, const Window &window, mlir::Value n,
                              mlir::Value c, llvm::ArrayRef<mlir::Value> o, llvm::ArrayRef<mlir::Value> k,
                              mlir::Value fill, mlir::Value *isInside = nullptr);

} // namespace adapter

#endif // ADAPTER_LIB_CONVERSION_ONNXTOLINALG_WINDOW_H
