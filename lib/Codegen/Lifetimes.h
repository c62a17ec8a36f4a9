// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How long buffers of straight-line code live.
#ifndef ADAPTER_LIB_CODEGEN_LIFETIMES_H
#define ADAPTER_LIB_CODEGEN_LIFETIMES_H

#include "mlir/IR/Block.h"
#include "mlir/IR/Value.h"

namespace adapter {

/// The last operation of `block` that uses `buffer` or what may be a view of it; null where it leaves the block.
/// `buffer` is defined in that block.
mlir::Operation *lastUse(mlir::Value buffer, mlir::Block *block);

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_LIFETIMES_H
