// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Loops for updates that differ by row. The rows of a call lie one after the other, so each segment's positions
// are `count` of the first dimension from `begin` on; their products use the same register tiles as the base's.
#include "lib/Codegen/LowerRows.h"
#include "lib/Codegen/EntryTensors.h"
#include "lib/Codegen/RowEmitter.h"

using namespace mlir;
using namespace adapter;
using namespace adapter::rows;

// to[m, o] += added * from[m, i] for each changed element (i, o): where it stands is read once for all of the
// segment's positions.
static void addSparse(ImplicitLocOpBuilder &b, RowEmitter &emit, Value slot, Value from, Value to) {
  int64_t any = ShapedType::kDynamic;
  Value count = emit.extent(slot, 3);
  Value places = emit.tensor(slot, kPlaces, {2, any}, {count}, b.getI64Type());
  Value added = emit.tensor(slot, kAdded, {any}, {count});
  emit.loop(index(b, 0), count, [&](Value j) {
    auto place = [&](int64_t which) -> Value {
      Value at = memref::LoadOp::create(b, places, ValueRange{index(b, which), j});
      return arith::IndexCastOp::create(b, b.getIndexType(), at);
    };
    Value in = place(0), out = place(1), factor = memref::LoadOp::create(b, added, ValueRange{j});
    emit.loop(index(b, 0), dim(b, to, 0), [&](Value m) {
      Value x = memref::LoadOp::create(b, from, ValueRange{m, in});
      Value before = memref::LoadOp::create(b, to, ValueRange{m, out});
      Value sum = arith::AddFOp::create(b, before, arith::MulFOp::create(b, x, factor));
      memref::StoreOp::create(b, sum, to, ValueRange{m, out});
    });
  });
}

static void lowerRowLinear(kernel::RowLinearOp op, TileFunctions &tiles) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  RowEmitter emit(b, op.getBank());
  Value input = ofAnySize(b, op.getInput()), output = ofAnySize(b, op.getOutput());
  int64_t any = ShapedType::kDynamic, width = tiles.getBlock();
  Value zero = index(b, 0), depth = dim(b, input, 1), columns = dim(b, output, 1);
  Value blocks = arith::CeilDivSIOp::create(b, columns, index(b, width));
  emit.forEachRow(output, [&](Value slot, Value begin, Value count, Value to) {
    Value from = rowsOf(b, input, begin, count);
    emit.when(emit.has(slot, kWhole), [&] {
      Value whole = emit.tensor(slot, kWhole, {any, any, width}, {blocks, depth});
      emit.loop(zero, blocks, [&](Value block) {
        tiles.call(b, TileStart::Zero, from, whole, Value(), to, block, zero, count);
      });
    });
    Value rank = emit.extent(slot, 0);
    Value hasRank = arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, rank, zero);
    emit.when(hasRank, [&] {
      Value rankBlocks = arith::DivUIOp::create(b, rank, index(b, width));
      Value down = emit.tensor(slot, kDown, {any, any, width}, {rankBlocks, depth});
      Value up = emit.tensor(slot, kUp, {any, any, width}, {blocks, rank});
      Value inner =
          memref::AllocOp::create(b, MemRefType::get({any, any}, b.getF32Type()), ValueRange{count, rank});
      emit.loop(zero, rankBlocks, [&](Value block) {
        tiles.call(b, TileStart::Zero, from, down, Value(), inner, block, zero, count);
      });
      emit.loop(zero, blocks, [&](Value block) {
        tiles.call(b, TileStart::Output, inner, up, Value(), to, block, zero, count);
      });
      memref::DeallocOp::create(b, inner);
    });
    emit.when(emit.has(slot, kColumnScale), [&] {
      Value scale = emit.tensor(slot, kColumnScale, {any}, {columns});
      emit.loop(zero, count, [&](Value m) {
        emit.loop(zero, columns, [&](Value n) {
          Value element = memref::LoadOp::create(b, to, ValueRange{m, n});
          Value factor = memref::LoadOp::create(b, scale, ValueRange{n});
          memref::StoreOp::create(b, arith::MulFOp::create(b, element, factor), to, ValueRange{m, n});
        });
      });
    });
    emit.when(emit.has(slot, kPlaces), [&] { addSparse(b, emit, slot, from, to); });
  });
  op.erase();
}

static void lowerRowEmbedding(kernel::RowEmbeddingOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  RowEmitter emit(b, op.getBank());
  Value ids = ofAnySize(b, op.getIds()), output = ofAnySize(b, op.getOutput());
  int64_t any = ShapedType::kDynamic;
  Value zero = index(b, 0), width = dim(b, output, 1);
  emit.forEachRow(output, [&](Value slot, Value begin, Value count, Value to) {
    Value rank = emit.extent(slot, 0), replaced = emit.extent(slot, 1), wholeRows = emit.extent(slot, 2);
    emit.loop(zero, count, [&](Value m) {
      Value position = arith::AddIOp::create(b, begin, m);
      Value id = arith::IndexCastOp::create(b, b.getIndexType(),
                                            memref::LoadOp::create(b, ids, ValueRange{position}));
      auto copyRow = [&](Value from, Value row) {
        emit.loop(zero, width, [&](Value n) {
          Value element = memref::LoadOp::create(b, from, ValueRange{row, n});
          memref::StoreOp::create(b, element, to, ValueRange{m, n});
        });
      };
      Value inside = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, id, wholeRows);
      Value takesWhole = arith::AndIOp::create(b, emit.has(slot, kWhole), inside);
      emit.when(
          takesWhole, [&] { copyRow(emit.tensor(slot, kWhole, {any, any}, {wholeRows, width}), id); },
          [&] {
            Value down = emit.tensor(slot, kDown, {any, any}, {wholeRows, rank});
            Value up = emit.tensor(slot, kUp, {any, any}, {rank, width});
            emit.loop(zero, rank, [&](Value r) {
              Value factor = memref::LoadOp::create(b, down, ValueRange{id, r});
              emit.loop(zero, width, [&](Value n) {
                Value before = memref::LoadOp::create(b, to, ValueRange{m, n});
                Value element = memref::LoadOp::create(b, up, ValueRange{r, n});
                Value sum = arith::AddFOp::create(b, before, arith::MulFOp::create(b, factor, element));
                memref::StoreOp::create(b, sum, to, ValueRange{m, n});
              });
            });
          });
      // Few rows are replaced: a scan over their indices.
      Value indices = emit.tensor(slot, kIndices, {any}, {replaced}, b.getI64Type());
      emit.loop(zero, replaced, [&](Value j) {
        Value at = arith::IndexCastOp::create(b, b.getIndexType(),
                                              memref::LoadOp::create(b, indices, ValueRange{j}));
        Value equal = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, at, id);
        emit.when(equal, [&] { copyRow(emit.tensor(slot, kRows, {any, any}, {replaced, width}), j); });
      });
    });
  });
  op.erase();
}

static void lowerRowVectors(kernel::RowVectorsOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  RowEmitter emit(b, op.getBank());
  Value base = ofAnySize(b, op.getBase()), output = ofAnySize(b, op.getOutput());
  Value zero = index(b, 0), positions = dim(b, output, 0), width = dim(b, output, 1);
  auto copy = [&](Value from, Value to, Value m) {
    emit.loop(zero, width, [&](Value n) {
      memref::StoreOp::create(b, memref::LoadOp::create(b, from, ValueRange{n}), to, ValueRange{m, n});
    });
  };
  auto all = kernel::ParallelOp::create(b, positions, index(b, 64));
  {
    OpBuilder::InsertionGuard guard(b);
    Block *block = b.createBlock(&all.getBody(), {}, b.getIndexType(), b.getLoc());
    copy(base, output, block->getArgument(0));
    kernel::YieldOp::create(b);
  }
  emit.forEachRow(output, [&](Value slot, Value, Value count, Value to) {
    emit.when(emit.has(slot, kWhole), [&] {
      Value whole = emit.tensor(slot, kWhole, {ShapedType::kDynamic}, {width});
      emit.loop(zero, count, [&](Value m) { copy(whole, to, m); });
    });
  });
  op.erase();
}

void adapter::lowerRowUpdate(Operation *op, TileFunctions &tiles) {
  if (auto linear = dyn_cast<kernel::RowLinearOp>(op))
    lowerRowLinear(linear, tiles);
  else if (auto embedding = dyn_cast<kernel::RowEmbeddingOp>(op))
    lowerRowEmbedding(embedding);
  else if (auto bottleneck = dyn_cast<kernel::RowBottleneckOp>(op))
    lowerRowBottleneck(bottleneck, tiles);
  else
    lowerRowVectors(cast<kernel::RowVectorsOp>(op));
}
