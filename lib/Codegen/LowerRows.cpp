// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Loops for updates that differ by row. The rows of a call lie one after the other, so each segment's positions
// are `count` of the first dimension from `begin` on.
#include "lib/Codegen/LowerRows.h"
#include "lib/Codegen/EntryTensors.h"
#include "lib/Codegen/RowEmitter.h"

using namespace mlir;
using namespace adapter;
using namespace adapter::rows;

static void lowerRowEmbedding(kernel::RowEmbeddingOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  RowEmitter emit(b, op.getBank());
  Value ids = ofAnySize(b, op.getIds()), output = rowsOfAnySize(b, op.getOutput());
  int64_t any = ShapedType::kDynamic;
  Value zero = index(b, 0), width = dim(b, output, 1);
  emit.forEachRow(output, [&](Value entry, Value begin, Value count, Value to) {
    Value rank = emit.extent(entry, 0), replaced = emit.extent(entry, 1), wholeRows = emit.extent(entry, 2);
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
      Value takesWhole = arith::AndIOp::create(b, emit.has(entry, kWhole), inside);
      emit.when(
          takesWhole, [&] { copyRow(emit.tensor(entry, kWhole, {any, any}, {wholeRows, width}), id); },
          [&] {
            Value down = emit.tensor(entry, kDown, {any, any}, {wholeRows, rank});
            Value up = emit.tensor(entry, kUp, {any, any}, {rank, width});
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
      Value indices = emit.tensor(entry, kIndices, {any}, {replaced}, b.getI64Type());
      emit.loop(zero, replaced, [&](Value j) {
        Value at = arith::IndexCastOp::create(b, b.getIndexType(),
                                              memref::LoadOp::create(b, indices, ValueRange{j}));
        Value equal = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, at, id);
        emit.when(equal, [&] { copyRow(emit.tensor(entry, kRows, {any, any}, {replaced, width}), j); });
      });
    });
  });
  op.erase();
}

static void lowerRowVectors(kernel::RowVectorsOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  RowEmitter emit(b, op.getBank());
  Value base = ofAnySize(b, op.getBase()), output = rowsOfAnySize(b, op.getOutput());
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
  emit.forEachRow(output, [&](Value entry, Value, Value count, Value to) {
    emit.when(emit.has(entry, kWhole), [&] {
      Value whole = emit.tensor(entry, kWhole, {ShapedType::kDynamic}, {width});
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
