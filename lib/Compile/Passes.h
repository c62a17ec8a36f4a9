// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Passes that split a program by binding time.
#ifndef ADAPTER_LIB_COMPILE_PASSES_H
#define ADAPTER_LIB_COMPILE_PASSES_H

#include "mlir/Pass/Pass.h"

namespace adapter {

/// Of functions made of forms that users bring.
inline constexpr const char *checkedAttribute = "adapter.checked";

#define GEN_PASS_DECL
#include "lib/Compile/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "lib/Compile/Passes.h.inc"

} // namespace adapter

#endif // ADAPTER_LIB_COMPILE_PASSES_H
