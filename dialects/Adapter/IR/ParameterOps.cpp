// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Printing, parsing and verification of adapter.parameter, and the generated parts of all ops.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace adapter;

// `custom<OneType>`: operands and result of one type, written once.
static ParseResult parseOneType(OpAsmParser &parser, ArrayRef<OpAsmParser::UnresolvedOperand> operands,
                                SmallVectorImpl<Type> &operandTypes, Type &type) {
  if (parser.parseType(type))
    return failure();
  operandTypes.assign(operands.size(), type);
  return success();
}

static void printOneType(OpAsmPrinter &printer, Operation *, OperandRange, TypeRange, Type type) {
  printer << type;
}

// `custom<Selection>`, of routers: top 2 | argmax | threshold 0.1 | top_p 0.4 | all
static ParseResult parseSelection(OpAsmParser &parser, RouterSelectionAttr &selection, IntegerAttr &top,
                                  FloatAttr &limit) {
  StringRef word;
  SMLoc location = parser.getCurrentLocation();
  if (parser.parseKeyword(&word))
    return failure();
  std::optional<RouterSelection> known = symbolizeRouterSelection(word);
  if (!known)
    return parser.emitError(location, "expected top, argmax, threshold, top_p or all");
  Builder &builder = parser.getBuilder();
  selection = RouterSelectionAttr::get(parser.getContext(), *known);
  top = builder.getI64IntegerAttr(0);
  if (*known == RouterSelection::Top) {
    int64_t count;
    if (parser.parseInteger(count))
      return failure();
    top = builder.getI64IntegerAttr(count);
  } else if (*known == RouterSelection::Threshold || *known == RouterSelection::TopP) {
    double bound;
    if (parser.parseFloat(bound))
      return failure();
    limit = builder.getF64FloatAttr(bound);
  }
  return success();
}

static void printSelection(OpAsmPrinter &printer, RouteOp, RouterSelectionAttr selection, IntegerAttr top,
                           FloatAttr limit) {
  printer << stringifyRouterSelection(selection.getValue());
  if (selection.getValue() == RouterSelection::Top)
    printer << ' ' << (top ? top.getInt() : 0);
  if (limit) {
    printer << ' ';
    printer.printFloat(limit.getValue());
  }
}

ParseResult ParameterOp::parse(OpAsmParser &parser, OperationState &result) {
  // Strings, not attributes: a string attribute would take the type behind the colon for its own.
  std::string scope, key;
  ElementsAttr value;
  Type type;
  if (parser.parseString(&scope) || parser.parseColon() || parser.parseColon() || parser.parseString(&key))
    return failure();
  result.addAttribute(getScopeAttrName(result.name), parser.getBuilder().getStringAttr(scope));
  result.addAttribute(getKeyAttrName(result.name), parser.getBuilder().getStringAttr(key));
  if (succeeded(parser.parseOptionalEqual())) {
    if (parser.parseAttribute(value, getValueAttrName(result.name), result.attributes) ||
        parser.parseOptionalAttrDict(result.attributes))
      return failure();
    result.addTypes(value.getType());
    // A value's type may be less precise than the parameter's, which has names of dims.
    if (succeeded(parser.parseOptionalColon())) {
      result.types.clear();
      return parser.parseType(type) ? failure() : (result.addTypes(type), success());
    }
    return success();
  }
  if (parser.parseOptionalAttrDict(result.attributes) || parser.parseColonType(type))
    return failure();
  result.addTypes(type);
  return success();
}

void ParameterOp::print(OpAsmPrinter &printer) {
  printer << ' ' << getScopeAttr() << "::" << getKeyAttr();
  if (getValueAttr())
    printer << " = " << getValueAttr();
  printer.printOptionalAttrDict((*this)->getAttrs(), {"scope", "key", "value"});
  if (!getValueAttr() || cast<TypedAttr>(getValueAttr()).getType() != getType())
    printer << " : " << getType();
}

LogicalResult ParameterOp::verify() {
  if (getScope().empty() || getKey().empty())
    return emitOpError("needs a scope and a key");
  if (getValue() && getValue()->getShapedType().getNumElements() > 64)
    return emitOpError("carries ") << getValue()->getShapedType().getNumElements()
                                   << " elements; only tensors of at most 64 stand in the IR";
  return success();
}

#define GET_OP_CLASSES
#include "dialects/Adapter/IR/AdapterOps.cpp.inc"
