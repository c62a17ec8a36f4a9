// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Registration of the adapter dialect.
#include "dialects/Adapter/IR/AdapterOps.h"

#include "dialects/Adapter/IR/AdapterDialect.cpp.inc"

void adapter::AdapterDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "dialects/Adapter/IR/AdapterOps.cpp.inc"
      >();
}
