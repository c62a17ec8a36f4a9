// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Contents of parameters, which the IR only names.
#ifndef ADAPTER_DIALECTS_ADAPTER_IR_PARAMETERPROVIDER_H
#define ADAPTER_DIALECTS_ADAPTER_IR_PARAMETERPROVIDER_H

#include "mlir/Support/LLVM.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <optional>

namespace adapter {

/// Looks contents up by scope and key; the bytes live as long as the provider.
class ParameterProvider {
public:
  virtual ~ParameterProvider() = default;
  virtual std::optional<llvm::ArrayRef<char>> lookupBytes(llvm::StringRef scope, llvm::StringRef key) = 0;
};

} // namespace adapter

#endif // ADAPTER_DIALECTS_ADAPTER_IR_PARAMETERPROVIDER_H
