// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Dialect and ops of kernel.
#ifndef ADAPTER_DIALECTS_KERNEL_IR_KERNELOPS_H
#define ADAPTER_DIALECTS_KERNEL_IR_KERNELOPS_H

#include "dialects/Adapter/IR/AdapterOps.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/Kernel/IR/KernelDialect.h.inc"

#include "dialects/Kernel/IR/KernelEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/Kernel/IR/KernelAttrs.h.inc"

namespace adapter::kernel {
/// On a product: K, where that ends within the weight's last group.
inline constexpr const char *partialGroupAttribute = "kernel.partial_group";
} // namespace adapter::kernel

#define GET_OP_CLASSES
#include "dialects/Kernel/IR/KernelOps.h.inc"

#endif // ADAPTER_DIALECTS_KERNEL_IR_KERNELOPS_H
