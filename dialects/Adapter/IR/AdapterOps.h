// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Dialect, types, attributes and ops of adapter.
#ifndef ADAPTER_DIALECTS_ADAPTER_IR_ADAPTEROPS_H
#define ADAPTER_DIALECTS_ADAPTER_IR_ADAPTEROPS_H

#include "dialects/Adapter/IR/ParameterProvider.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributeInterfaces.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include <memory>

#include "dialects/Adapter/IR/AdapterDialect.h.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/Adapter/IR/AdapterTypes.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/Adapter/IR/AdapterAttrs.h.inc"

#define GET_OP_CLASSES
#include "dialects/Adapter/IR/AdapterOps.h.inc"

#endif // ADAPTER_DIALECTS_ADAPTER_IR_ADAPTEROPS_H
