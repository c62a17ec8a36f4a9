// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Functions that many places of a module call, and the types that they take.
#ifndef ADAPTER_LIB_CODEGEN_SHAREDFUNCTION_H
#define ADAPTER_LIB_CODEGEN_SHAREDFUNCTION_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace adapter {

/// A matrix of f32 of any size, offset and row stride.
inline mlir::MemRefType stridedMatrixType(mlir::Builder &b) {
  int64_t any = mlir::ShapedType::kDynamic;
  return mlir::MemRefType::get({any, any}, b.getF32Type(),
                               mlir::StridedLayoutAttr::get(b.getContext(), any, {any, 1}));
}

/// Adds a private function at the builder's place and sets the builder to its start. It is large and called from many
/// places, so that LLVM must not inline it.
inline mlir::func::FuncOp startSharedFunction(mlir::ImplicitLocOpBuilder &b, llvm::StringRef name,
                                              mlir::TypeRange arguments, mlir::TypeRange results = {}) {
  auto function = mlir::func::FuncOp::create(b, name, b.getFunctionType(arguments, results));
  function.setPrivate();
  function->setAttr("passthrough", b.getStrArrayAttr({"noinline"}));
  b.setInsertionPointToStart(function.addEntryBlock());
  return function;
}

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_SHAREDFUNCTION_H
