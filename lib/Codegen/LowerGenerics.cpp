// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// convert-linalg-to-kernel-loops: linalg.generic on contiguous buffers becomes loops shaped for LLVM's
// vectoriser: one parallel loop over the collapsed outer dimensions, the last dimension innermost,
// reductions in registers (loop-carried values, which need no alias analysis).
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Codegen/Passes.h"
#include "lib/Codegen/VectorReduction.h"
#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Linalg/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace adapter {
#define GEN_PASS_DEF_LOWERGENERICSPASS
#include "lib/Codegen/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

// Elements that one thread should handle at least, so that the launch costs little against the work.
static constexpr int64_t kGrainElements = 16384;

static Value evaluate(ImplicitLocOpBuilder &b, AffineExpr expr, ArrayRef<Value> indices) {
  if (auto dim = dyn_cast<AffineDimExpr>(expr))
    return indices[dim.getPosition()];
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return arith::ConstantIndexOp::create(b, constant.getValue());
  return affine::expandAffineExpr(b, b.getLoc(), expr, indices, {});
}

SmallVector<Value> adapter::position(ImplicitLocOpBuilder &b, AffineMap map, ArrayRef<Value> indices) {
  SmallVector<Value> result;
  for (AffineExpr expr : map.getResults())
    result.push_back(evaluate(b, expr, indices));
  return result;
}

static SmallVector<Value> loadInputs(ImplicitLocOpBuilder &b, linalg::GenericOp op, ArrayRef<Value> indices) {
  SmallVector<Value> loaded;
  for (OpOperand *operand : op.getDpsInputOperands()) {
    if (!isa<MemRefType>(operand->get().getType())) {
      loaded.push_back(operand->get());
      continue;
    }
    loaded.push_back(
        memref::LoadOp::create(b, operand->get(), position(b, op.getMatchingIndexingMap(operand), indices)));
  }
  return loaded;
}

static void storeOutputs(ImplicitLocOpBuilder &b, linalg::GenericOp op, ArrayRef<Value> indices,
                         ValueRange values) {
  for (auto [operand, value] : llvm::zip(op.getDpsInitsMutable(), values))
    memref::StoreOp::create(b, value, operand.get(),
                            position(b, op.getMatchingIndexingMap(&operand), indices));
}

// Outputs as the body sees them: loaded only where it reads them.
static SmallVector<Value> loadOutputs(ImplicitLocOpBuilder &b, linalg::GenericOp op,
                                      ArrayRef<Value> indices) {
  SmallVector<Value> loaded;
  for (OpOperand &operand : op.getDpsInitsMutable())
    loaded.push_back(
        memref::LoadOp::create(b, operand.get(), position(b, op.getMatchingIndexingMap(&operand), indices)));
  return loaded;
}

static void emitPoint(ImplicitLocOpBuilder &b, linalg::GenericOp op, ArrayRef<Value> indices) {
  SmallVector<Value> arguments = loadInputs(b, op, indices);
  bool readsOutput = llvm::any_of(op.getRegionOutputArgs(), [](BlockArgument a) { return !a.use_empty(); });
  if (readsOutput) {
    arguments.append(loadOutputs(b, op, indices));
  } else {
    for (BlockArgument unused : op.getRegionOutputArgs()) {
      (void)unused;
      arguments.push_back(Value());
    }
  }
  storeOutputs(b, op, indices, emitBody(b, op, indices, arguments));
}

static void emitReduction(ImplicitLocOpBuilder &b, linalg::GenericOp op, ArrayRef<unsigned> dims,
                          ArrayRef<Value> sizes, SmallVector<Value> &indices) {
  Value zero = arith::ConstantIndexOp::create(b, 0), one = arith::ConstantIndexOp::create(b, 1);
  SmallVector<Value> carried = loadOutputs(b, op, indices);
  SmallVector<scf::ForOp> loops;
  for (unsigned dim : dims) {
    auto loop = scf::ForOp::create(b, zero, sizes[dim], one, carried);
    if (!loops.empty())
      scf::YieldOp::create(b, loop.getResults());
    loops.push_back(loop);
    carried.assign(loop.getRegionIterArgs().begin(), loop.getRegionIterArgs().end());
    indices[dim] = loop.getInductionVar();
    b.setInsertionPointToStart(loop.getBody());
  }
  SmallVector<Value> arguments = loadInputs(b, op, indices);
  arguments.append(carried);
  SmallVector<Value> yielded = emitBody(b, op, indices, arguments);
  scf::YieldOp::create(b, yielded);
  b.setInsertionPointAfter(loops.front());
  storeOutputs(b, op, indices, loops.front().getResults());
}

// The results of block indices[dim]: at once, or one by one where fewer are left.
static void emitBlock(ImplicitLocOpBuilder &b, linalg::GenericOp op, unsigned dim, ArrayRef<unsigned> dims,
                      ArrayRef<Value> sizes, SmallVector<Value> indices) {
  Value width = arith::ConstantIndexOp::create(b, vectorResults), one = arith::ConstantIndexOp::create(b, 1);
  Value begin = arith::MulIOp::create(b, indices[dim], width), end = arith::AddIOp::create(b, begin, width);
  Value isWhole = arith::CmpIOp::create(b, arith::CmpIPredicate::ule, end, sizes[dim]);
  auto branch = scf::IfOp::create(b, isWhole, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  indices[dim] = begin;
  emitVectorReduction(b, op, dim, dims, sizes, indices);
  b.setInsertionPointToStart(branch.elseBlock());
  auto rest = scf::ForOp::create(b, begin, sizes[dim], one);
  b.setInsertionPointToStart(rest.getBody());
  indices[dim] = rest.getInductionVar();
  emitReduction(b, op, dims, sizes, indices);
}

// Whether every operand is read and written in order, so that the loops collapse into one.
static bool isFlat(linalg::GenericOp op) {
  for (Value operand : op->getOperands())
    if (auto type = dyn_cast<MemRefType>(operand.getType()); type && !type.getLayout().isIdentity())
      return false;
  if (op.hasIndexSemantics() || op.getNumReductionLoops() || op.getNumLoops() < 2)
    return false;
  return llvm::all_of(op.getIndexingMapsArray(), [](AffineMap map) { return map.isIdentity(); });
}

static void flatten(ImplicitLocOpBuilder &b, linalg::GenericOp op) {
  for (OpOperand &operand : op->getOpOperands()) {
    auto type = dyn_cast<MemRefType>(operand.get().getType());
    if (!type)
      continue;
    SmallVector<Value> sizes;
    int64_t count = type.hasStaticShape() ? type.getNumElements() : ShapedType::kDynamic;
    if (ShapedType::isDynamic(count)) {
      Value product = arith::ConstantIndexOp::create(b, 1);
      for (int64_t dim = 0; dim < type.getRank(); ++dim)
        product = b.createOrFold<arith::MulIOp>(product, b.createOrFold<memref::DimOp>(operand.get(), dim));
      sizes.push_back(product);
    }
    operand.set(
        kernel::ReshapeOp::create(b, MemRefType::get(count, type.getElementType()), operand.get(), sizes));
  }
  AffineMap identity = b.getMultiDimIdentityMap(1);
  op.setIndexingMapsAttr(b.getAffineMapArrayAttr(SmallVector<AffineMap>(op->getNumOperands(), identity)));
  op.setIteratorTypesAttr(
      b.getArrayAttr(linalg::IteratorTypeAttr::get(b.getContext(), utils::IteratorType::parallel)));
}

static void lower(linalg::GenericOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  if (isFlat(op))
    flatten(b, op);
  SmallVector<Value> sizes;
  for (Range range : cast<linalg::LinalgOp>(op.getOperation()).createLoopRanges(b, op.getLoc()))
    sizes.push_back(getValueOrCreateConstantIndexOp(b, op.getLoc(), range.size));
  SmallVector<unsigned> parallel, reduction;
  op.getParallelDims(parallel);
  op.getReductionDims(reduction);
  Value zero = arith::ConstantIndexOp::create(b, 0), one = arith::ConstantIndexOp::create(b, 1);

  // The innermost loop stays sequential where outer ones can feed the threads.
  std::optional<unsigned> inner;
  if (reduction.empty() && parallel.size() > 1)
    inner = parallel.pop_back_val();
  Value work = one;
  for (unsigned dim : reduction)
    work = b.createOrFold<arith::MulIOp>(work, sizes[dim]);
  if (inner)
    work = b.createOrFold<arith::MulIOp>(work, sizes[*inner]);
  // Of results side by side some are made at once.
  std::optional<unsigned> along;
  if (!reduction.empty() && !parallel.empty() && canReduceVectors(op, parallel.back()))
    along = parallel.back();
  Value width = arith::ConstantIndexOp::create(b, vectorResults), blocks;
  if (along) {
    blocks = b.createOrFold<arith::CeilDivUIOp>(sizes[*along], width);
    work = b.createOrFold<arith::MulIOp>(work, width);
  }
  Value count = one;
  for (unsigned dim : parallel)
    count = b.createOrFold<arith::MulIOp>(count, dim == along ? blocks : sizes[dim]);
  Value elements = arith::ConstantIndexOp::create(b, kGrainElements);
  Value grain = b.createOrFold<arith::DivUIOp>(elements, b.createOrFold<arith::MaxUIOp>(work, one));
  grain = b.createOrFold<arith::MaxUIOp>(grain, one);

  SmallVector<Value> indices(op.getNumLoops());
  auto loop = kernel::ParallelOp::create(b, count, grain);
  Block *body = b.createBlock(&loop.getBody(), {}, b.getIndexType(), b.getLoc());
  Value rest = body->getArgument(0);
  for (unsigned dim : llvm::reverse(parallel)) {
    if (dim == parallel.front()) {
      indices[dim] = rest;
      break;
    }
    Value size = dim == along ? blocks : sizes[dim];
    indices[dim] = arith::RemUIOp::create(b, rest, size);
    rest = arith::DivUIOp::create(b, rest, size);
  }
  if (inner) {
    auto innermost = scf::ForOp::create(b, zero, sizes[*inner], one);
    kernel::YieldOp::create(b);
    b.setInsertionPointToStart(innermost.getBody());
    indices[*inner] = innermost.getInductionVar();
    emitPoint(b, op, indices);
  } else if (along) {
    emitBlock(b, op, *along, reduction, sizes, indices);
    kernel::YieldOp::create(b);
  } else if (!reduction.empty()) {
    emitReduction(b, op, reduction, sizes, indices);
    kernel::YieldOp::create(b);
  } else {
    emitPoint(b, op, indices);
    kernel::YieldOp::create(b);
  }
  op.erase();
}

namespace {
struct LowerGenericsPass final : adapter::impl::LowerGenericsPassBase<LowerGenericsPass> {
  using Base::Base;
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<linalg::LinalgOp> named;
    getOperation()->walk([&](linalg::LinalgOp op) {
      if (!isa<linalg::GenericOp>(op))
        named.push_back(op);
    });
    for (linalg::LinalgOp op : named) {
      rewriter.setInsertionPoint(op);
      if (failed(linalg::generalizeNamedOp(rewriter, op))) {
        op.emitError("cannot be lowered to loops");
        return signalPassFailure();
      }
    }
    // Copies into a part of a buffer have no single memcpy.
    SmallVector<memref::CopyOp> copies;
    getOperation()->walk([&](memref::CopyOp op) { copies.push_back(op); });
    for (memref::CopyOp op : copies) {
      OpBuilder builder(op);
      linalg::makeMemRefCopyOp(builder, op.getLoc(), op.getSource(), op.getTarget());
      op.erase();
    }
    SmallVector<linalg::GenericOp> ops;
    getOperation()->walk([&](linalg::GenericOp op) { ops.push_back(op); });
    for (linalg::GenericOp op : ops) {
      if (!op.hasPureBufferSemantics()) {
        op.emitError("is not on buffers");
        return signalPassFailure();
      }
      lower(op);
    }
  }
};
} // namespace
