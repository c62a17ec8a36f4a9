// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Verification of sites and of the ops that use updates.
#include "dialects/Adapter/IR/AdapterOps.h"

using namespace mlir;
using namespace adapter;

LogicalResult SiteOp::verify() {
  // Beside a product's weight that is not to be changed an adapter acts as what a call chooses does, whatever its time.
  bool mayBeBeside = getKind() == SiteKind::Linear;
  if (getTime() == BindingTime::Build && !mayBeBeside)
    return emitOpError("is for updates that come after the build");
  if (getRows() < 1 || getColumns() < 0 || (getColumns() == 0) != (getKind() == SiteKind::Vector))
    return emitOpError("has no sizes for its kind: ")
           << getRows() << " rows, " << getColumns() << " columns, " << stringifySiteKind(getKind());
  if (getByToken() && getTime() != BindingTime::Row)
    return emitOpError("differs by token, but is not of the time row");
  bool chooses = getTime() == BindingTime::Row || getTime() == BindingTime::Call;
  if (getBank() && !chooses && (!mayBeBeside || getTime() == BindingTime::Load))
    return emitOpError("has a bank, but its adapters act on all rows of all calls");
  bool isBottleneck = getKind() == SiteKind::Bottleneck;
  if (isBottleneck != getBottlenecks().has_value() || (isBottleneck && !getForms().empty()))
    return emitOpError("has 'bottlenecks' if it is of kind bottleneck, and only then; 'forms' otherwise");
  return success();
}

LogicalResult SelectOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto site = symbols.lookupNearestSymbolFrom<SiteOp>(*this, getSiteAttr());
  if (!site)
    return emitOpError("refers to @") << getSite() << ", which is no adapter.site";
  ArrayRef<int64_t> shape = getType().getWeight().getShape();
  int64_t rows = site.getRows(), columns = site.getColumns();
  SmallVector<int64_t> expected = {rows};
  if (columns)
    expected.insert(site.getTransposed() ? expected.begin() : expected.end(), columns);
  bool whole = site.getKind() == SiteKind::Convolution || shapesAgree(shape, expected);
  if (!whole && shape.size() == expected.size())
    return emitOpError("is of a weight of ") << shape << ", its site of " << ArrayRef<int64_t>(expected);
  return success();
}

Value SelectOp::materialize(ImplicitLocOpBuilder &, UpdateTarget) { return {}; }

LogicalResult MaterializeOp::verify() {
  if (dependsOnInput(getUpdate()))
    return emitOpError(
        "has an update that depends on the input of the weight's reader, so that there is no such "
        "weight; adapter.linear takes it");
  return success();
}

OpFoldResult MaterializeOp::fold(FoldAdaptor) {
  // The empty sum.
  if (auto sum = getUpdate().getDefiningOp<SumOp>(); sum && sum.getSources().empty())
    return getWeight();
  return {};
}

static ArrayRef<int64_t> shapeOf(Value value) { return cast<ShapedType>(value.getType()).getShape(); }

// Values of graphs may be of unknown shape: what is known must agree.
LogicalResult LinearOp::verify() {
  ArrayRef<int64_t> update = cast<UpdateType>(getUpdate().getType()).getWeight().getShape();
  auto weight = dyn_cast<RankedTensorType>(getWeight().getType());
  if (weight && updateTypeOf(weight) != getUpdate().getType())
    return emitOpError("has a weight of ") << weight << " and an update of another";
  if (update.size() != 2)
    return emitOpError("needs a matrix as weight, and as many dimensions in the input as in the result");
  int64_t in = update[getTransposeWeight()], out = update[!getTransposeWeight()];
  auto input = dyn_cast<RankedTensorType>(getInput().getType());
  auto result = dyn_cast<RankedTensorType>(getResult().getType());
  if ((input && !input.getRank()) || (input && result && input.getRank() != result.getRank()))
    return emitOpError("needs a matrix as weight, and as many dimensions in the input as in the result");
  if (input && !shapesAgree(input.getShape().back(), in))
    return emitOpError("has an input of width ")
           << input.getShape().back() << " for a weight that takes " << in;
  if (input && result) {
    SmallVector<int64_t> expected(input.getShape());
    expected.back() = out;
    if (!shapesAgree(expected, result.getShape()))
      return emitOpError("has a result of ")
             << result.getShape() << ", not of " << ArrayRef<int64_t>(expected);
  }
  if (getBias() && !shapesAgree(shapeOf(getBias()), out))
    return emitOpError("needs a bias of ") << out << " elements; got " << getBias().getType();
  return success();
}

LogicalResult EmbeddingOp::verify() {
  ArrayRef<int64_t> ids = shapeOf(getIds()), weight = shapeOf(getWeight());
  if (updateTypeOf(getWeight().getType()) != getUpdate().getType())
    return emitOpError("has a table of ") << getWeight().getType() << " and an update of another";
  if (weight.size() != 2 || !getElementTypeOrSelf(getIds().getType()).isInteger())
    return emitOpError("needs a matrix as table, and ids that are integers");
  SmallVector<int64_t> expected(ids);
  expected.push_back(weight[1]);
  if (!shapesAgree(expected, shapeOf(getResult())))
    return emitOpError("has a result of ")
           << shapeOf(getResult()) << ", not of " << ArrayRef<int64_t>(expected);
  return success();
}
