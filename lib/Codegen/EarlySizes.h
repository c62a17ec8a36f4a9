// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sizes of buffers, computed where a function begins.
#ifndef ADAPTER_LIB_CODEGEN_EARLYSIZES_H
#define ADAPTER_LIB_CODEGEN_EARLYSIZES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include <optional>

namespace adapter {

/// Makes values of a function available at its beginning, by computing them there once more, where they depend
/// on nothing but the shapes of its arguments, integer arguments and constants. Code that is made never traps: what
/// divides by zero where checks have not been made yet gives an arbitrary number.
class EarlySizes {
public:
  explicit EarlySizes(mlir::func::FuncOp function);
  ~EarlySizes() { end->erase(); }

  /// The builder at the end of what was computed early.
  mlir::ImplicitLocOpBuilder &getBuilder() { return b; }

  /// The same index or integer early; null where it cannot be known then.
  mlir::Value get(mlir::Value value);
  /// All sizes of a buffer; none where one of them cannot be known.
  std::optional<mlir::SmallVector<mlir::Value>> shapeOf(mlir::Value buffer);
  /// What an early value would be if every size of the arguments that may vary were `size`; none where this is
  /// not known.
  std::optional<int64_t> sample(mlir::Value early, int64_t size);

private:
  mlir::Value dimOf(mlir::Value buffer, int64_t dim);
  mlir::Value recompute(mlir::Operation *op, unsigned result);

  mlir::ImplicitLocOpBuilder b;
  mlir::Operation *end; // of what was computed early, so that what follows may be erased
  llvm::DenseMap<mlir::Value, mlir::Value> known;
  llvm::DenseMap<mlir::Value, std::optional<int64_t>> samples;
};

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_EARLYSIZES_H
