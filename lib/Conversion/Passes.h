// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Conversions between this project's dialects and upstream ones.
#ifndef ADAPTER_LIB_CONVERSION_PASSES_H
#define ADAPTER_LIB_CONVERSION_PASSES_H

#include "mlir/Pass/Pass.h"

namespace adapter {

/// On a module: the word of the format that most weights had before they were widened to f32.
inline constexpr const char *widenedFromAttribute = "adapter.widened_from";

#define GEN_PASS_DECL
#include "lib/Conversion/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "lib/Conversion/Passes.h.inc"

} // namespace adapter

#endif // ADAPTER_LIB_CONVERSION_PASSES_H
