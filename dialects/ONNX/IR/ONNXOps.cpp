// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Printing, parsing, verification and accessors of onnx ops.
#include "dialects/ONNX/IR/ONNXOps.h"
#include "dialects/ONNX/IR/NodeVersion.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace adapter::onnxir;

//===----------------------------------------------------------------------===//
// onnx.model
//===----------------------------------------------------------------------===//

static LogicalResult verifyOpsets(Operation *op, ArrayAttr opsets) {
  if (opsets.size() % 2)
    return op->emitOpError("needs a version for each domain of 'opsets'");
  for (size_t i = 0; i < opsets.size(); i += 2)
    if (!isa<StringAttr>(opsets[i]) || !isa<IntegerAttr>(opsets[i + 1]))
      return op->emitOpError("needs domains and versions in turn in 'opsets'");
  return success();
}

static int64_t lookupOpset(ArrayAttr opsets, StringRef domain) {
  auto normal = [](StringRef name) { return name == "ai.onnx" ? StringRef() : name; };
  for (size_t i = 0; i + 1 < opsets.size(); i += 2)
    if (normal(cast<StringAttr>(opsets[i]).getValue()) == normal(domain))
      return cast<IntegerAttr>(opsets[i + 1]).getInt();
  return 0;
}

LogicalResult ModelOp::verify() { return verifyOpsets(*this, getOpsets()); }
int64_t ModelOp::getOpsetVersion(StringRef domain) { return lookupOpset(getOpsets(), domain); }

//===----------------------------------------------------------------------===//
// onnx.graph and onnx.function: `@name (%x: type, ...) { ... } {attributes}`
//===----------------------------------------------------------------------===//

static ParseResult parseGraphLike(OpAsmParser &parser, OperationState &result) {
  StringAttr name;
  SmallVector<OpAsmParser::Argument> arguments;
  if (parser.parseSymbolName(name, SymbolTable::getSymbolAttrName(), result.attributes) ||
      parser.parseArgumentList(arguments, OpAsmParser::Delimiter::Paren, /*allowType=*/true) ||
      parser.parseRegion(*result.addRegion(), arguments) || parser.parseOptionalAttrDict(result.attributes))
    return failure();
  if (result.regions.front()->empty())
    return parser.emitError(parser.getNameLoc(), "expected a body");
  return success();
}

static void printGraphLike(OpAsmPrinter &printer, Operation *op) {
  printer << ' ';
  printer.printSymbolName(SymbolTable::getSymbolName(op));
  printer << " (";
  Region &body = op->getRegion(0);
  llvm::interleaveComma(body.getArguments(), printer,
                        [&](BlockArgument argument) { printer.printRegionArgument(argument); });
  printer << ") ";
  printer.printRegion(body, /*printEntryBlockArgs=*/false);
  printer.printOptionalAttrDict(op->getAttrs(), {SymbolTable::getSymbolAttrName()});
}

static LogicalResult verifyInputNames(Operation *op, ArrayAttr names) {
  size_t arguments = op->getRegion(0).getNumArguments();
  if (names.size() != arguments)
    return op->emitOpError("has ") << arguments << " inputs but " << names.size() << " input names";
  return success();
}

ParseResult GraphOp::parse(OpAsmParser &parser, OperationState &result) {
  return parseGraphLike(parser, result);
}
void GraphOp::print(OpAsmPrinter &printer) { printGraphLike(printer, *this); }
LogicalResult GraphOp::verify() { return verifyInputNames(*this, getInputNames()); }

ParseResult FunctionOp::parse(OpAsmParser &parser, OperationState &result) {
  return parseGraphLike(parser, result);
}
void FunctionOp::print(OpAsmPrinter &printer) { printGraphLike(printer, *this); }
LogicalResult FunctionOp::verify() {
  if (getOpsets() && failed(verifyOpsets(*this, *getOpsets())))
    return failure();
  return verifyInputNames(*this, getInputNames());
}
int64_t FunctionOp::getOpsetVersion(StringRef domain) {
  return getOpsets() ? lookupOpset(*getOpsets(), domain) : 0;
}

LogicalResult ReturnOp::verify() {
  if (getOutputNames() && getOutputNames()->size() != getNumOperands())
    return emitOpError("has ") << getNumOperands() << " operands but " << getOutputNames()->size()
                               << " output names";
  return success();
}

//===----------------------------------------------------------------------===//
// onnx.node
//===----------------------------------------------------------------------===//

LogicalResult NodeOp::verify() {
  if (getResultNames().size() != getNumResults())
    return emitOpError("has ") << getNumResults() << " results but " << getResultNames().size()
                               << " result names";
  size_t names = getRegionNames() ? getRegionNames()->size() : 0;
  if (names != getNumRegions())
    return emitOpError("has ") << getNumRegions() << " regions but " << names << " region names";
  for (Region &region : getGraphs())
    if (region.front().empty() || !isa<ReturnOp>(region.front().back()))
      return emitOpError("needs onnx.return at the end of each region");
  if (getMetadata() && getMetadata()->size() % 2)
    return emitOpError("needs a value for each metadata key");
  return success();
}

Value NodeOp::getInputOrNull(unsigned index) {
  if (index >= getInputs().size() || isa<NoneType>(getInputs()[index].getType()))
    return {};
  return getInputs()[index];
}

StringRef NodeOp::getMetadataValue(StringRef key) {
  std::optional<ArrayAttr> metadata = getMetadata();
  for (size_t i = 0; metadata && i + 1 < metadata->size(); i += 2)
    if (cast<StringAttr>((*metadata)[i]).getValue() == key)
      return cast<StringAttr>((*metadata)[i + 1]).getValue();
  return {};
}

int64_t NodeOp::getOpsetVersion() {
  if (auto own = (*this)->getAttrOfType<IntegerAttr>(versionAttribute))
    return own.getInt();
  // A function imports its own operator sets; where it names none, old files mean the model's.
  if (auto function = (*this)->getParentOfType<FunctionOp>())
    if (int64_t version = function.getOpsetVersion(getDomain()))
      return version;
  auto model = (*this)->getParentOfType<ModelOp>();
  if (!model)
    return 0;
  return model.getOpsetVersion(getDomain());
}

void NodeOp::getEffects(SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>> &effects) {
  if (!getDomain().empty() && getDomain() != "ai.onnx")
    return;
  // Dropout draws where its third input, training_mode, says so.
  bool random = llvm::StringSwitch<bool>(getOpType())
                    .Cases({"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}, true)
                    .Cases({"Multinomial", "Bernoulli"}, true)
                    .Case("Dropout", static_cast<bool>(getInputOrNull(2)))
                    .Default(false);
  if (random)
    effects.emplace_back(MemoryEffects::Write::get());
}

#define GET_OP_CLASSES
#include "dialects/ONNX/IR/ONNXOps.cpp.inc"
