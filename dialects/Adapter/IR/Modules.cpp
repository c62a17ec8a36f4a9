// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Verification of modules. Values of a graph may be of unknown type or rank: what is known must agree.
#include "dialects/Adapter/IR/AdapterOps.h"

using namespace mlir;
using namespace adapter;

static constexpr int64_t kUnknown = ShapedType::kDynamic;

// Size of the last dimension.
static int64_t widthOf(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getRank() ? type.getShape().back() : kUnknown;
}

static ArrayRef<int64_t> shapeOf(Value value) { return cast<RankedTensorType>(value.getType()).getShape(); }

LogicalResult BottleneckOp::verify() {
  ArrayRef<int64_t> down = shapeOf(getDown()), up = shapeOf(getUp());
  if (down.size() != 2 || up.size() != 2)
    return emitOpError("needs matrices down and up; got ")
           << getDown().getType() << " and " << getUp().getType();
  if (!shapesAgree(widthOf(getInput()), down[1]))
    return emitOpError("has an input of width ") << widthOf(getInput()) << ", but down takes " << down[1];
  if (!shapesAgree(widthOf(getResult()), up[0]))
    return emitOpError("has a result of width ") << widthOf(getResult()) << ", but up gives " << up[0];
  auto isVector = [](Value value, int64_t size) { return !value || shapesAgree(shapeOf(value), size); };
  if (!isVector(getDownBias(), down[0]) || !isVector(getUpBias(), up[0]))
    return emitOpError("needs biases of ") << down[0] << " and " << up[0] << " elements";
  if (!isVector(getScale(), up[0]) && !isVector(getScale(), 1))
    return emitOpError("needs a scale of 1 or ") << up[0] << " elements; got " << getScale().getType();
  if (getResidual() && !shapesAgree(widthOf(getResidual()), up[0]))
    return emitOpError("has a residual of width ") << widthOf(getResidual()) << ", not " << up[0];
  return success();
}

LogicalResult BottleneckOp::verifyRegions() {
  Block &block = getInner().front();
  auto end = block.empty() ? YieldOp() : dyn_cast<YieldOp>(block.back());
  if (block.getNumArguments() != 1 || !end || end.getNumOperands() != 1)
    return emitOpError("needs a region with one argument that ends in adapter.yield");
  int64_t narrow = shapeOf(getDown())[0], inner = shapeOf(getUp())[1];
  if (!shapesAgree(widthOf(block.getArgument(0)), narrow))
    return emitOpError("has a region on a value of width ")
           << widthOf(block.getArgument(0)) << ", but down gives " << narrow;
  if (!shapesAgree(widthOf(getYielded()), inner))
    return emitOpError("has a region that yields a value of width ")
           << widthOf(getYielded()) << ", but up takes " << inner;
  return success();
}

LogicalResult ActOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto site = symbols.lookupNearestSymbolFrom<SiteOp>(*this, getSiteAttr());
  if (!site || site.getKind() != SiteKind::Bottleneck)
    return emitOpError("refers to @") << getSite() << ", which is no adapter.site of a bottleneck";
  int64_t rows = site.getRows(), columns = site.getColumns();
  bool fits = shapesAgree(widthOf(getBase()), rows) && shapesAgree(widthOf(getResult()), rows) &&
              shapesAgree(widthOf(getInput()), columns) &&
              (!getResidual() || shapesAgree(widthOf(getResidual()), rows));
  if (!fits)
    return emitOpError("does not map a width of ")
           << columns << " to one of " << rows << ", as its site does";
  return success();
}

LogicalResult MaskMixOp::verify() {
  if (getFactors().empty() || getFactors().size() != getMasks().size())
    return emitOpError("needs a mask for each factor; got ")
           << getFactors().size() << " factors and " << getMasks().size() << " masks";
  for (auto [factor, mask] : llvm::zip(getFactors(), getMasks())) {
    if (factor.getType() != getType())
      return emitOpError("mixes a ") << factor.getType() << " into a " << getType();
    auto type = cast<RankedTensorType>(mask.getType());
    if (!isa<IntegerType>(type.getElementType()) || !shapesAgree(type.getShape(), shapeOf(getResult())))
      return emitOpError("needs masks of integers, shaped as the factors; got ") << type;
  }
  return success();
}
