// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The contents behind adapter.parameter ops: tensors by scope and key, mapped rather than copied.
#ifndef ADAPTER_LIB_SUPPORT_PARAMETERSTORE_H
#define ADAPTER_LIB_SUPPORT_PARAMETERSTORE_H

#include "dialects/Adapter/IR/ParameterProvider.h"
#include "lib/Checkpoint/Tensor.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/ADT/StringMap.h"

namespace adapter {

class ParameterStore final : public ParameterProvider {
public:
  /// The store of a context, made on first use. The adapter dialect is loaded by it.
  static ParameterStore &get(mlir::MLIRContext *context);

  /// Binds scope::key to a tensor; what was there before is dropped.
  void set(llvm::StringRef scope, llvm::StringRef key, checkpoint::Tensor tensor);
  /// Binds a tensor under `key`, or, where other contents stand there, under a key made from it; returns which.
  std::string add(llvm::StringRef scope, llvm::StringRef key, checkpoint::Tensor tensor);
  /// Binds a tensor under `key`, or, where anything stands there, under a key made from it; returns which.
  std::string addNew(llvm::StringRef scope, llvm::StringRef key, checkpoint::Tensor tensor);
  /// The tensor at scope::key, or null.
  const checkpoint::Tensor *lookup(llvm::StringRef scope, llvm::StringRef key) const;
  std::optional<llvm::ArrayRef<char>> lookupBytes(llvm::StringRef scope, llvm::StringRef key) override;

  /// The file that a scope's archive was read from, "" where there is none.
  void setFile(llvm::StringRef scope, llvm::StringRef file) { files[scope] = file.str(); }
  llvm::StringRef getFile(llvm::StringRef scope) const;

private:
  llvm::StringMap<llvm::StringMap<checkpoint::Tensor>> scopes;
  llvm::StringMap<std::string> files;
};

/// The MLIR element type of a checkpoint's dtype, null where MLIR has none.
mlir::Type elementTypeOf(checkpoint::DType dtype, mlir::MLIRContext *context);
/// The dtype of an MLIR element type, Undefined where checkpoints have none.
checkpoint::DType dtypeOf(mlir::Type elementType);

} // namespace adapter

#endif // ADAPTER_LIB_SUPPORT_PARAMETERSTORE_H
