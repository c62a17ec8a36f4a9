// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The algebra of updates, as folds and canonicalisation: nested sums and compositions are flat, what cannot
// be seen vanishes, factors multiply, and a sum of low-rank updates is one stacked low-rank update.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace adapter;

static bool isIdentity(Value update) {
  auto sum = update.getDefiningOp<SumOp>();
  return sum && sum.getSources().empty();
}

// Replaces operands that satisfy `nested` by theirs, drops those that change nothing.
template <typename Op>
static LogicalResult flatten(Op op, PatternRewriter &rewriter) {
  SmallVector<Value> flat;
  bool changed = false;
  for (Value source : op.getSources()) {
    if (auto inner = source.getDefiningOp<Op>()) {
      llvm::append_range(flat, inner.getSources());
      changed = true;
    } else if (isIdentity(source)) {
      changed = true;
    } else {
      flat.push_back(source);
    }
  }
  if (!changed)
    return failure();
  rewriter.replaceOpWithNewOp<Op>(op, op.getType(), flat);
  return success();
}

//===----------------------------------------------------------------------===//
// adapter.low_rank
//===----------------------------------------------------------------------===//

// An update of rank 0 changes nothing.
static LogicalResult dropZeroRank(LowRankOp op, PatternRewriter &rewriter) {
  if (cast<RankedTensorType>(op.getA().getType()).getDimSize(0) != 0)
    return failure();
  rewriter.replaceOpWithNewOp<SumOp>(op, op.getType(), ValueRange());
  return success();
}

void LowRankOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *) {
  patterns.add(dropZeroRank);
}

//===----------------------------------------------------------------------===//
// adapter.scale
//===----------------------------------------------------------------------===//

OpFoldResult ScaleOp::fold(FoldAdaptor adaptor) {
  auto factor = dyn_cast_or_null<FloatAttr>(adaptor.getFactor());
  if ((factor && factor.getValueAsDouble() == 1.0) || isIdentity(getSource()))
    return getSource();
  return {};
}

// Factors multiply.
static LogicalResult mergeScales(ScaleOp op, PatternRewriter &rewriter) {
  auto inner = op.getSource().getDefiningOp<ScaleOp>();
  if (!inner)
    return failure();
  Value product = arith::MulFOp::create(rewriter, op.getLoc(), inner.getFactor(), op.getFactor());
  rewriter.replaceOpWithNewOp<ScaleOp>(op, op.getType(), inner.getSource(), product);
  return success();
}

void ScaleOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *) {
  patterns.add(mergeScales);
}

//===----------------------------------------------------------------------===//
// adapter.sum
//===----------------------------------------------------------------------===//

OpFoldResult SumOp::fold(FoldAdaptor) {
  return getSources().size() == 1 ? OpFoldResult(getSources().front()) : OpFoldResult();
}

static Value stackFactors(PatternRewriter &rewriter, Location loc, ArrayRef<LowRankOp> ops, int64_t axis,
                          Value (*factor)(LowRankOp)) {
  SmallVector<Value> parts;
  for (LowRankOp op : ops)
    parts.push_back(factor(op));
  return tensor::ConcatOp::create(rewriter, loc, axis, parts);
}

// b1 a1 + b2 a2 = [b1 b2] [a1; a2], where element types agree and no middle factor is in the way.
static LogicalResult stackLowRank(SumOp op, PatternRewriter &rewriter) {
  SmallVector<LowRankOp> stack;
  SmallVector<Value> rest;
  for (Value source : op.getSources()) {
    auto lowRank = source.getDefiningOp<LowRankOp>();
    bool fits = lowRank && !lowRank.getMiddle();
    if (fits && !stack.empty())
      fits = getElementTypeOrSelf(lowRank.getA()) == getElementTypeOrSelf(stack.front().getA()) &&
             getElementTypeOrSelf(lowRank.getB()) == getElementTypeOrSelf(stack.front().getB());
    if (fits)
      stack.push_back(lowRank);
    else
      rest.push_back(source);
  }
  if (stack.size() < 2)
    return failure();
  Value a =
      stackFactors(rewriter, op.getLoc(), stack, 0, [](LowRankOp each) -> Value { return each.getA(); });
  Value b =
      stackFactors(rewriter, op.getLoc(), stack, 1, [](LowRankOp each) -> Value { return each.getB(); });
  rest.push_back(LowRankOp::create(rewriter, op.getLoc(), op.getType(), a, b, Value()));
  rewriter.replaceOpWithNewOp<SumOp>(op, op.getType(), rest);
  return success();
}

void SumOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *) {
  patterns.add(flatten<SumOp>);
  patterns.add(stackLowRank);
}

//===----------------------------------------------------------------------===//
// adapter.compose
//===----------------------------------------------------------------------===//

OpFoldResult ComposeOp::fold(FoldAdaptor) {
  return getSources().size() == 1 ? OpFoldResult(getSources().front()) : OpFoldResult();
}

// What comes before an update that looks at no weight cannot be seen.
static LogicalResult dropUnseen(ComposeOp op, PatternRewriter &rewriter) {
  for (size_t i = op.getSources().size(); i-- > 1;) {
    auto update = op.getSources()[i].getDefiningOp<UpdateOpInterface>();
    if (!update || update.needsWeight())
      continue;
    rewriter.replaceOpWithNewOp<ComposeOp>(op, op.getType(), op.getSources().drop_front(i));
    return success();
  }
  return failure();
}

// Additive updates in a row are a sum.
static LogicalResult sumAdditive(ComposeOp op, PatternRewriter &rewriter) {
  SmallVector<SmallVector<Value>> runs;
  bool open = false;
  for (Value source : op.getSources()) {
    auto update = source.getDefiningOp<UpdateOpInterface>();
    bool additive = update && update.isAdditive();
    if (!additive || !open)
      runs.emplace_back();
    runs.back().push_back(source);
    open = additive;
  }
  if (runs.size() == op.getSources().size())
    return failure();
  SmallVector<Value> sources;
  for (ArrayRef<Value> run : runs)
    sources.push_back(run.size() == 1 ? run.front()
                                      : SumOp::create(rewriter, op.getLoc(), op.getType(), run).getUpdate());
  rewriter.replaceOpWithNewOp<ComposeOp>(op, op.getType(), sources);
  return success();
}

static LogicalResult dropEmptyCompose(ComposeOp op, PatternRewriter &rewriter) {
  if (!op.getSources().empty())
    return failure();
  rewriter.replaceOpWithNewOp<SumOp>(op, op.getType(), ValueRange());
  return success();
}

void ComposeOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *) {
  patterns.add(flatten<ComposeOp>);
  patterns.add(dropUnseen);
  patterns.add(sumAdditive);
  patterns.add(dropEmptyCompose);
}

//===----------------------------------------------------------------------===//
// adapter.transpose
//===----------------------------------------------------------------------===//

OpFoldResult TransposeOp::fold(FoldAdaptor) {
  if (isIdentityPermutation(getPermutation()))
    return getSource();
  auto inner = getSource().getDefiningOp<TransposeOp>();
  if (!inner)
    return {};
  SmallVector<int64_t> both = applyPermutation(inner.getPermutation(), getPermutation());
  if (isIdentityPermutation(both))
    return inner.getSource();
  getSourceMutable().assign(inner.getSource());
  setPermutation(both);
  return getUpdate();
}
