// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Registration of the kernel dialect.
#include "dialects/Kernel/IR/KernelOps.h"

#include "dialects/Kernel/IR/KernelDialect.cpp.inc"

void adapter::kernel::KernelDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "dialects/Kernel/IR/KernelOps.cpp.inc"
      >();
}
