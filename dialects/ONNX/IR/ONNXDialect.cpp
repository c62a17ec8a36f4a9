// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Registration of the onnx dialect, its types and attributes.
#include "dialects/ONNX/IR/NodeVersion.h"
#include "dialects/ONNX/IR/ONNXOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

#include "dialects/ONNX/IR/ONNXDialect.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/ONNX/IR/ONNXTypes.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/ONNX/IR/ONNXAttrs.cpp.inc"

void adapter::onnxir::ONNXDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/ONNX/IR/ONNXTypes.cpp.inc"
      >();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/ONNX/IR/ONNXAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/ONNX/IR/ONNXOps.cpp.inc"
      >();
}

// What stays with a graph whatever it is lowered to.
llvm::LogicalResult adapter::onnxir::ONNXDialect::verifyOperationAttribute(mlir::Operation *op,
                                                                           mlir::NamedAttribute attribute) {
  if (attribute.getName() == sessionAttribute && !llvm::isa<SessionAttr>(attribute.getValue()))
    return op->emitOpError("'") << sessionAttribute << "' is not an #onnx.session";
  if (attribute.getName() == versionAttribute &&
      (!llvm::isa<NodeOp>(op) || !llvm::isa<mlir::IntegerAttr>(attribute.getValue())))
    return op->emitOpError("'") << versionAttribute << "' is a whole number on an onnx.node";
  return llvm::success();
}
