// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Verification of adapters that come with an artifact, of slots, and of what functions of graphs say of themselves.
#include "dialects/Adapter/IR/AdapterOps.h"

using namespace mlir;
using namespace adapter;

LogicalResult ResidentOp::verify() {
  // One of the build has what it adds beside weights that are not to be changed.
  if (getTime() == BindingTime::Build && getBody().front().empty())
    return emitOpError("is for adapters that act after the build, or beside weights");
  for (Operation &op : getBody().front())
    if (!isa<ResidentUpdateOp>(op))
      return emitOpError("holds something else than adapter.resident_update: ") << op.getName();
  return success();
}

LogicalResult ResidentUpdateOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto site = symbols.lookupNearestSymbolFrom<SiteOp>(*this, getSiteAttr());
  if (!site)
    return emitOpError("refers to @") << getSite() << ", which is no adapter.site";
  if (site.getTime() != cast<ResidentOp>((*this)->getParentOp()).getTime())
    return emitOpError("is of another time than its site @") << getSite();
  if (!llvm::is_contained(site.getBottlenecks().value_or(site.getForms()), getForm()))
    return emitOpError("is of the form ") << getForm() << ", for which @" << getSite() << " has no room";
  return success();
}

LogicalResult SlotOp::verify() {
  if (getTime() == BindingTime::Build)
    return emitOpError("is for adapters that come after the build");
  if (getForms().empty())
    return emitOpError("takes no form");
  return success();
}

template <typename Element>
static bool isArrayOf(Attribute attribute) {
  auto array = dyn_cast<ArrayAttr>(attribute);
  return array && llvm::all_of(array, llvm::IsaPred<Element>);
}

// What stays with a function whatever it is lowered to, so that it is no part of an op's own.
LogicalResult AdapterDialect::verifyOperationAttribute(Operation *op, NamedAttribute attribute) {
  StringRef name = attribute.getName();
  Attribute value = attribute.getValue();
  if (name == parametersAttribute && !isArrayOf<ParameterRowAttr>(value))
    return op->emitOpError("'") << name << "' is no array of #adapter.row";
  if ((name == inputsAttribute || name == outputsAttribute) && !isArrayOf<TypeAttr>(value))
    return op->emitOpError("'") << name << "' is no array of types";
  if ((name == inputNamesAttribute || name == outputNamesAttribute) && !isArrayOf<StringAttr>(value))
    return op->emitOpError("'") << name << "' is no array of strings";
  return success();
}
