// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Registration of the adapter dialect.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

#include "dialects/Adapter/IR/AdapterDialect.cpp.inc"
#include "dialects/Adapter/IR/AdapterEnums.cpp.inc"
#include "dialects/Adapter/IR/AdapterInterfaces.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/Adapter/IR/AdapterTypes.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/Adapter/IR/AdapterAttrs.cpp.inc"

void adapter::AdapterDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/Adapter/IR/AdapterTypes.cpp.inc"
      >();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/Adapter/IR/AdapterAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/Adapter/IR/AdapterOps.cpp.inc"
      >();
}
