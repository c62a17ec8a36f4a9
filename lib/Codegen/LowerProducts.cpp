// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// kernel-lower-products: products become loops over register tiles. One tile function per way of starting
// the accumulators serves every product of the module, so that code size and compile time do not grow
// with the number of layers.
#include "lib/Codegen/LowerProducts.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Codegen/LoopEmitter.h"
#include "lib/Codegen/LowerAttention.h"
#include "lib/Codegen/LowerExperts.h"
#include "lib/Codegen/LowerFormats.h"
#include "lib/Codegen/LowerRows.h"
#include "lib/Codegen/LowerWeights.h"
#include "lib/Codegen/Passes.h"
#include "lib/Codegen/TileFunction.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace adapter {
#define GEN_PASS_DEF_LOWERPRODUCTSPASS
#include "lib/Codegen/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

// Rows that one thread rounds; fewer are not worth waking another.
static constexpr int64_t rowsAtOnce = 4;

static Value dim(ImplicitLocOpBuilder &b, Value memref, int64_t index) {
  return b.createOrFold<memref::DimOp>(memref, index);
}

static Value index(ImplicitLocOpBuilder &b, int64_t value) {
  return arith::ConstantIndexOp::create(b, value);
}

//===----------------------------------------------------------------------===//
// kernel.pack
//===----------------------------------------------------------------------===//

// Packs column block `block` of source [k, n] (or [n, k]) into panels[block].
static void emitPackBlock(ImplicitLocOpBuilder &b, Value source, Value panels, Value block, bool transposed) {
  Value zero = index(b, 0), one = index(b, 1);
  int64_t width = cast<MemRefType>(panels.getType()).getDimSize(2);
  Type element = cast<MemRefType>(panels.getType()).getElementType();
  Value depth = dim(b, source, transposed ? 1 : 0), columns = dim(b, source, transposed ? 0 : 1);
  Value first = arith::MulIOp::create(b, block, index(b, width));
  Value valid = arith::MinSIOp::create(b, arith::SubIOp::create(b, columns, first), index(b, width));
  Value none = arith::ConstantOp::create(b, b.getZeroAttr(element));
  auto rows = scf::ForOp::create(b, zero, depth, one);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(rows.getBody());
    Value k = rows.getInductionVar();
    auto copy = scf::ForOp::create(b, zero, valid, one);
    auto pad = scf::ForOp::create(b, valid, index(b, width), one);
    b.setInsertionPointToStart(copy.getBody());
    Value column = arith::AddIOp::create(b, first, copy.getInductionVar());
    Value element = transposed ? memref::LoadOp::create(b, source, ValueRange{column, k})
                               : memref::LoadOp::create(b, source, ValueRange{k, column});
    memref::StoreOp::create(b, element, panels, ValueRange{block, k, copy.getInductionVar()});
    b.setInsertionPointToStart(pad.getBody());
    memref::StoreOp::create(b, none, panels, ValueRange{block, k, pad.getInductionVar()});
  }
}

static void lowerPack(kernel::PackOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  Value source = op.getSource(), panels = op.getOutput();
  bool many = cast<MemRefType>(panels.getType()).getRank() == 4;
  Value blocks = dim(b, panels, many), count = blocks;
  if (many)
    count = arith::MulIOp::create(b, blocks, dim(b, panels, 0));
  auto loop = kernel::ParallelOp::create(b, count, index(b, 1));
  Block *body = b.createBlock(&loop.getBody(), {}, b.getIndexType(), b.getLoc());
  Value block = body->getArgument(0);
  if (many) {
    Value at = arith::DivUIOp::create(b, block, blocks);
    block = arith::RemUIOp::create(b, block, blocks);
    source = sliceAt(b, source, at);
    panels = sliceAt(b, panels, at);
  }
  emitPackBlock(b, source, panels, block, op.getTransposed());
  kernel::YieldOp::create(b);
  op.erase();
}

static void lowerUnpack(kernel::UnpackOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  Value width = index(b, cast<MemRefType>(op.getSource().getType()).getDimSize(2));
  auto loop = kernel::ParallelOp::create(b, dim(b, op.getOutput(), 0), index(b, 1));
  Block *body = b.createBlock(&loop.getBody(), {}, b.getIndexType(), b.getLoc());
  Value k = body->getArgument(0);
  auto columns = scf::ForOp::create(b, index(b, 0), dim(b, op.getOutput(), 1), index(b, 1));
  kernel::YieldOp::create(b);
  b.setInsertionPointToStart(columns.getBody());
  Value n = columns.getInductionVar();
  Value block = arith::DivUIOp::create(b, n, width), lane = arith::RemUIOp::create(b, n, width);
  Value element = memref::LoadOp::create(b, op.getSource(), ValueRange{block, k, lane});
  memref::StoreOp::create(b, element, op.getOutput(), ValueRange{k, n});
  op.erase();
}

//===----------------------------------------------------------------------===//
// kernel.linear and kernel.batch_matmul
//===----------------------------------------------------------------------===//

void adapter::forEachBlock(ImplicitLocOpBuilder &b, const TileFunctions &tiles, Value rows, Value blocks,
                           llvm::function_ref<void(Value, Value, Value)> emitBody) {
  Value one = index(b, 1), tileRows = index(b, tiles.getRows());
  Value rowTiles = arith::CeilDivSIOp::create(b, rows, tileRows);
  // At least 16 pieces of work where the rows allow, so that two threads end together.
  Value wanted = b.createOrFold<arith::MaxSIOp>(b.createOrFold<arith::DivSIOp>(index(b, 16), blocks), one);
  Value chunks = arith::MaxSIOp::create(b, arith::MinSIOp::create(b, wanted, rowTiles), one);
  Value tilesPerChunk = arith::CeilDivSIOp::create(b, rowTiles, chunks);
  Value chunkRows = arith::MulIOp::create(b, tilesPerChunk, tileRows);
  Value count = arith::MulIOp::create(b, blocks, chunks);

  auto loop = kernel::ParallelOp::create(b, count, one);
  OpBuilder::InsertionGuard guard(b);
  Block *body = b.createBlock(&loop.getBody(), {}, b.getIndexType(), b.getLoc());
  Value block = arith::DivUIOp::create(b, body->getArgument(0), chunks);
  Value chunk = arith::RemUIOp::create(b, body->getArgument(0), chunks);
  Value begin = arith::MinSIOp::create(b, arith::MulIOp::create(b, chunk, chunkRows), rows);
  Value end = arith::MinSIOp::create(b, arith::AddIOp::create(b, begin, chunkRows), rows);
  emitBody(block, begin, end);
  kernel::YieldOp::create(b);
}

void adapter::fillRows(ImplicitLocOpBuilder &b, TileFunctions &tiles, kernel::FormatAttr format, Value matrix,
                       const IntegerRows &rows, Value begin, Value end, bool mayEnd) {
  if (rows.scales || tiles.takesBF16(format))
    return tiles.roundRows(b, format, matrix, rows, begin, end, mayEnd);
  LoopEmitter loops{b};
  loops.loop(begin, end, [&](Value row) {
    Value columns = dim(b, matrix, 1), zero = arith::ConstantOp::create(b, b.getF32FloatAttr(0));
    loops.loop(index(b, 0), columns,
               [&](Value k) { loops.store(loops.load(matrix, {row, k}), rows.words, {row, k}); });
    loops.loop(columns, dim(b, rows.words, 1), [&](Value k) { loops.store(zero, rows.words, {row, k}); });
  });
}

IntegerRows adapter::rowsFor(ImplicitLocOpBuilder &b, TileFunctions &tiles, kernel::FormatAttr format,
                             Value matrix, Value weight, bool mayEnd) {
  bool ofIntegers = tiles.takesIntegers(format);
  if (!ofIntegers && !tiles.takesBF16(format) && !mayEnd)
    return {};
  Value count = dim(b, matrix, 0), depth = dim(b, matrix, 1);
  if (mayEnd)
    depth = arith::MulIOp::create(b, dim(b, weight, 1), index(b, format.steps()));
  auto alloc = [&](Type type, int64_t steps) -> Value {
    Value width = arith::DivUIOp::create(b, depth, index(b, steps));
    int64_t any = ShapedType::kDynamic;
    return memref::AllocOp::create(b, MemRefType::get({any, any}, type), ValueRange{count, width});
  };
  IntegerRows rows;
  if (ofIntegers)
    rows = {alloc(b.getI32Type(), 4), alloc(b.getF32Type(), integerBlock / 2)};
  else if (tiles.takesPairs(format))
    rows = {alloc(b.getI32Type(), 2), Value()};
  else
    rows = {alloc(b.getF32Type(), 1), Value()};
  LoopEmitter{b}.parallel(count, rowsAtOnce, [&](Value row) {
    Value next = arith::AddIOp::create(b, row, index(b, 1));
    fillRows(b, tiles, format, matrix, rows, row, next, mayEnd);
  });
  return rows;
}

void adapter::free(ImplicitLocOpBuilder &b, const IntegerRows &rows) {
  memref::DeallocOp::create(b, rows.words);
  if (rows.scales)
    memref::DeallocOp::create(b, rows.scales);
}

void adapter::emitLinear(ImplicitLocOpBuilder &b, TileFunctions &tiles, Value input, Value weight, Value bias,
                         Value output, kernel::FormatAttr format, bool mayEnd) {
  IntegerRows rows = rowsFor(b, tiles, format, input, weight, mayEnd);
  forEachBlock(b, tiles, dim(b, input, 0), dim(b, weight, 0), [&](Value block, Value begin, Value end) {
    TileStart start = bias ? TileStart::Bias : TileStart::Zero;
    tiles.call(b, start, rows ? rows.words : input, weight, bias, output, block, begin, end, format,
               rows.scales);
  });
  if (rows)
    free(b, rows);
}

static void lowerLinear(kernel::LinearOp op, TileFunctions &tiles) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  emitLinear(b, tiles, op.getInput(), op.getWeight(), op.getBias(), op.getOutput(), op.getFormatAttr(),
             op->hasAttr(kernel::partialGroupAttribute));
  op.erase();
}

static Value matrixOf(ImplicitLocOpBuilder &b, Value batch, Value at) {
  SmallVector<OpFoldResult> offsets{at, b.getIndexAttr(0), b.getIndexAttr(0)};
  SmallVector<OpFoldResult> sizes{b.getIndexAttr(1), OpFoldResult(dim(b, batch, 1)),
                                  OpFoldResult(dim(b, batch, 2))};
  SmallVector<OpFoldResult> strides(3, b.getIndexAttr(1));
  auto type = MemRefType::get(
      {ShapedType::kDynamic, ShapedType::kDynamic}, cast<MemRefType>(batch.getType()).getElementType(),
      StridedLayoutAttr::get(b.getContext(), ShapedType::kDynamic, {ShapedType::kDynamic, 1}));
  auto inferred = memref::SubViewOp::inferRankReducedResultType({ShapedType::kDynamic, ShapedType::kDynamic},
                                                                cast<MemRefType>(batch.getType()), offsets,
                                                                sizes, strides);
  Value view = memref::SubViewOp::create(b, cast<MemRefType>(inferred), batch, offsets, sizes, strides);
  return b.createOrFold<memref::CastOp>(type, view);
}

static void lowerBatchMatmul(kernel::BatchMatmulOp op, TileFunctions &tiles) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  Value zero = index(b, 0), one = index(b, 1), width = index(b, tiles.getBlock());
  Value rows = dim(b, op.getLhs(), 1), depth = dim(b, op.getLhs(), 2), columns = dim(b, op.getOutput(), 2);
  Value blocks = arith::CeilDivSIOp::create(b, columns, width);

  auto loop = kernel::ParallelOp::create(b, dim(b, op.getOutput(), 0), one);
  Block *body = b.createBlock(&loop.getBody(), {}, b.getIndexType(), b.getLoc());
  Value at = body->getArgument(0);
  Value lhs = matrixOf(b, op.getLhs(), at), rhs = matrixOf(b, op.getRhs(), at);
  Value output = matrixOf(b, op.getOutput(), at);
  auto panelType =
      MemRefType::get({ShapedType::kDynamic, ShapedType::kDynamic, tiles.getBlock()}, b.getF32Type());
  Value panels = memref::AllocOp::create(b, panelType, ValueRange{blocks, depth});
  auto perBlock = scf::ForOp::create(b, zero, blocks, one);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(perBlock.getBody());
    emitPackBlock(b, rhs, panels, perBlock.getInductionVar(), op.getTransposeRhs());
    tiles.call(b, TileStart::Zero, lhs, panels, Value(), output, perBlock.getInductionVar(), zero, rows);
  }
  memref::DeallocOp::create(b, panels);
  kernel::YieldOp::create(b);
  op.erase();
}

namespace {
struct LowerProductsPass final : adapter::impl::LowerProductsPassBase<LowerProductsPass> {
  using Base::Base;
  void runOnOperation() override {
    IntegerDot dot = vnni ? IntegerDot::VNNI : IntegerDot::Portable;
    TileFunctions tiles(getOperation(), lanes, rows, vectors,
                        {integerActivations, dot, bf16Activations, bf16});
    SmallVector<Operation *> ops;
    getOperation()->walk([&](Operation *op) {
      if (isa<kernel::LinearOp, kernel::BatchMatmulOp, kernel::AttentionOp, kernel::PackOp, kernel::UnpackOp,
              kernel::EncodeOp, kernel::DecodeOp, kernel::RepackOp, kernel::DequantizeOp,
              kernel::UpdateWeightOp, kernel::RowLinearOp, kernel::RowEmbeddingOp, kernel::RowVectorsOp,
              kernel::RowBottleneckOp, kernel::TopKOp, kernel::DispatchOp, kernel::GatherRowsOp,
              kernel::GroupedLinearOp, kernel::CombineOp, kernel::UniqueRowsOp, kernel::ArrangeRowsOp,
              kernel::AllToAllOp, kernel::AllToAllRowsOp, kernel::AllGatherRowsOp>(op))
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      if (auto linear = dyn_cast<kernel::LinearOp>(op))
        lowerLinear(linear, tiles);
      else if (auto matmul = dyn_cast<kernel::BatchMatmulOp>(op))
        lowerBatchMatmul(matmul, tiles);
      else if (auto attention = dyn_cast<kernel::AttentionOp>(op))
        lowerAttention(attention, tiles);
      else if (auto pack = dyn_cast<kernel::PackOp>(op))
        lowerPack(pack);
      else if (auto unpack = dyn_cast<kernel::UnpackOp>(op))
        lowerUnpack(unpack);
      else if (auto encode = dyn_cast<kernel::EncodeOp>(op))
        lowerEncode(encode, lanes);
      else if (auto decode = dyn_cast<kernel::DecodeOp>(op))
        lowerDecode(decode, lanes);
      else if (auto repack = dyn_cast<kernel::RepackOp>(op))
        lowerRepack(repack);
      else if (auto dequantize = dyn_cast<kernel::DequantizeOp>(op))
        lowerDequantize(dequantize);
      else if (auto update = dyn_cast<kernel::UpdateWeightOp>(op))
        lowerUpdateWeight(update, lanes, rows * vectors);
      else if (isa<kernel::RowLinearOp, kernel::RowEmbeddingOp, kernel::RowVectorsOp,
                   kernel::RowBottleneckOp>(op))
        lowerRowUpdate(op, tiles);
      else if (isa<kernel::UniqueRowsOp, kernel::ArrangeRowsOp, kernel::AllToAllOp, kernel::AllToAllRowsOp,
                   kernel::AllGatherRowsOp>(op))
        lowerExchangeOp(op);
      else
        lowerExpertOp(op, tiles);
    }
  }
};
} // namespace
