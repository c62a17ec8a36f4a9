// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Dialect, types, attributes and ops of onnx.
#ifndef ADAPTER_DIALECTS_ONNX_IR_ONNXOPS_H
#define ADAPTER_DIALECTS_ONNX_IR_ONNXOPS_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/RegionKindInterface.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/ONNX/IR/ONNXDialect.h.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/ONNX/IR/ONNXTypes.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/ONNX/IR/ONNXAttrs.h.inc"

#define GET_OP_CLASSES
#include "dialects/ONNX/IR/ONNXOps.h.inc"

namespace adapter::onnxir {

/// The #onnx.session of a graph, and of the function that it becomes.
inline constexpr const char *sessionAttribute = "onnx.session";
/// On an onnx.graph: it counts the positions of each row by itself, and sees no padding between them.
inline constexpr const char *rowsApartAttribute = "onnx.rows_apart";

} // namespace adapter::onnxir

#endif // ADAPTER_DIALECTS_ONNX_IR_ONNXOPS_H
