// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Loops over the segments of a call.
#include "lib/Codegen/RowEmitter.h"
#include "lib/Codegen/EntryTensors.h"

using namespace mlir;
using namespace adapter;
using namespace adapter::rows;

Value RowEmitter::isPlain(Value first, Value count) {
  Value weight = kernel::AssignmentOp::create(b, b.getIndexType(), b.getF32Type(), first).getWeight();
  Value isWhole = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, weight, one());
  Value isOne = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, count, index(b, 1));
  return arith::AndIOp::create(b, isWhole, isOne);
}

Value RowEmitter::isSum(Value entry) {
  Value more = arith::OrIOp::create(b, has(entry, kWhole), has(entry, kColumnScale));
  more = arith::OrIOp::create(b, more, has(entry, kStepTable));
  return arith::XOrIOp::create(b, more, yes());
}

void RowEmitter::forEach(Value matrix, llvm::function_ref<void(ValueRange)> element) {
  loop(index(b, 0), dim(b, matrix, 0),
       [&](Value m) { loop(index(b, 0), dim(b, matrix, 1), [&](Value n) { element(ValueRange{m, n}); }); });
}

// The adapters of one segment on the rows `out` of the output.
void RowEmitter::actOn(Value out, Value begin, Value count, Value first, Value assignments, Body body) {
  auto load = [&](Value matrix, ValueRange at) -> Value { return memref::LoadOp::create(b, matrix, at); };
  Value width = dim(b, out, 1), plain = isPlain(first, assignments);
  // What the base made, and room for what one adapter makes of it; the output itself where that is all.
  auto choose = scf::IfOp::create(b, TypeRange{out.getType(), out.getType()}, plain, /*withElseRegion=*/true);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(choose.thenBlock());
    scf::YieldOp::create(b, ValueRange{out, out});
    b.setInsertionPointToStart(choose.elseBlock());
    auto type = MemRefType::get({ShapedType::kDynamic, ShapedType::kDynamic}, b.getF32Type());
    Value base = memref::AllocOp::create(b, type, ValueRange{count, width});
    Value own = memref::AllocOp::create(b, type, ValueRange{count, width});
    forEach(out, [&](ValueRange at) { memref::StoreOp::create(b, load(out, at), base, at); });
    scf::YieldOp::create(b, ValueRange{memref::CastOp::create(b, out.getType(), base),
                                       memref::CastOp::create(b, out.getType(), own)});
  }
  Value base = choose.getResult(0), own = choose.getResult(1);
  Value mixed = arith::XOrIOp::create(b, plain, arith::ConstantOp::create(b, b.getBoolAttr(true)));
  loop(first, arith::AddIOp::create(b, first, assignments), [&](Value number) {
    auto assignment = kernel::AssignmentOp::create(b, b.getIndexType(), b.getF32Type(), number);
    when(mixed,
         [&] { forEach(base, [&](ValueRange at) { memref::StoreOp::create(b, load(base, at), own, at); }); });
    body(assignment.getEntry(), begin, count, own);
    when(mixed, [&] {
      forEach(base, [&](ValueRange at) {
        Value change = arith::SubFOp::create(b, load(own, at), load(base, at));
        Value share = arith::MulFOp::create(b, change, assignment.getWeight());
        memref::StoreOp::create(b, arith::AddFOp::create(b, load(out, at), share), out, at);
      });
    });
  });
  when(mixed, [&] {
    memref::DeallocOp::create(b, base);
    memref::DeallocOp::create(b, own);
  });
}

void RowEmitter::forEachRow(Value output, Body body) {
  Value positions = dim(b, output, 0);
  Value segments = kernel::SegmentCountOp::create(b, b.getIndexType());
  auto parallel = kernel::ParallelOp::create(b, segments, index(b, 1));
  OpBuilder::InsertionGuard guard(b);
  Block *block = b.createBlock(&parallel.getBody(), {}, b.getIndexType(), b.getLoc());
  Value rows = kernel::RowCountOp::create(b, b.getIndexType());
  auto segment = kernel::SegmentOp::create(b, SmallVector<Type>(4, b.getIndexType()), block->getArgument(0));
  auto boundary = [&](Value row) -> Value {
    return arith::DivUIOp::create(b, arith::MulIOp::create(b, row, positions), rows);
  };
  Value begin = boundary(segment.getBegin()), end = boundary(segment.getEnd());
  Value some = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, begin, end);
  when(some, [&] {
    Value count = arith::SubIOp::create(b, end, begin);
    actOn(rowsOf(b, output, begin, count), begin, count, segment.getFirst(), segment.getCount(), body);
  });
  kernel::YieldOp::create(b);
}
