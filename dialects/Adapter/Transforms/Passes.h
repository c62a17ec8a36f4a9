// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Passes over the adapter dialect.
#ifndef ADAPTER_DIALECTS_ADAPTER_TRANSFORMS_PASSES_H
#define ADAPTER_DIALECTS_ADAPTER_TRANSFORMS_PASSES_H

#include "mlir/Pass/Pass.h"

namespace adapter {

#define GEN_PASS_DECL
#include "dialects/Adapter/Transforms/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "dialects/Adapter/Transforms/Passes.h.inc"

} // namespace adapter

#endif // ADAPTER_DIALECTS_ADAPTER_TRANSFORMS_PASSES_H
