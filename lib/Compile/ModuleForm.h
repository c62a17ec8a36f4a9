// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Load functions of modules that act on activations.
#ifndef ADAPTER_LIB_COMPILE_MODULEFORM_H
#define ADAPTER_LIB_COMPILE_MODULEFORM_H

#include "lib/Checkpoint/Bottleneck.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include <map>
#include <string>
#include <vector>

namespace adapter {

/// What a bottleneck's entry holds, made of the tensors of its roles, and where each stands; see
/// adapter-rt/artifact.h. `block` is the width of the kernels' column blocks.
llvm::SmallVector<mlir::Value> emitModuleEntries(mlir::ImplicitLocOpBuilder &b,
                                                 const checkpoint::Bottleneck &form, int64_t block,
                                                 const std::map<std::string, mlir::Value> &tensors,
                                                 mlir::Value scale, std::vector<int> &positions);

} // namespace adapter

#endif // ADAPTER_LIB_COMPILE_MODULEFORM_H
