// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See RowSurvey.h. A function, since a graph is one long function that many loops would make slow to compile.
#include "lib/Codegen/RowSurvey.h"
#include "lib/Codegen/EntryTensors.h"
#include "lib/Codegen/LoopEmitter.h"
#include "lib/Codegen/RowEmitter.h"
#include "lib/Codegen/SharedFunction.h"

using namespace mlir;
using namespace adapter;
using namespace adapter::rows;

namespace {
struct SurveyWriter {
  ImplicitLocOpBuilder &b;
  Value positions, table;
  int64_t tileRows;
  RowEmitter emit;
  LoopEmitter loops{b};

  void store(Value row, ValueRange span) {
    for (auto [field, value] : llvm::enumerate(span))
      loops.store(value, table, {row, index(b, field)});
  }
  Value either(Value x, Value y) { return arith::OrIOp::create(b, x, y); }

  // {columns, beside, sparse, steps, before, temporaries} with those of an assignment; `plain` says that it is all there
  // is.
  SmallVector<Value> assignment(Value number, Value plain, ValueRange state) {
    Value entry = kernel::AssignmentOp::create(b, b.getIndexType(), b.getF32Type(), number).getEntry();
    Value direct = either(plain, emit.isSum(entry));
    Value beside = arith::XOrIOp::create(b, direct, emit.yes());
    Value before =
        arith::CmpIOp::create(b, arith::CmpIPredicate::ugt, emit.extent(entry, kStepsBefore), index(b, 0));
    Value room =
        arith::MulIOp::create(b, emit.extent(entry, kTemporaries), emit.extent(entry, kTemporaryWidth));
    return {loops.add(state[0], emit.extent(entry, kRank)),
            either(state[1], beside),
            either(state[2], emit.has(entry, kPlaces)),
            either(state[3], emit.has(entry, kStepTable)),
            either(state[4], before),
            arith::MaxUIOp::create(b, state[5], room)};
  }

  // {width, rows of the table, beside, ..} with those of a segment.
  SmallVector<Value> segment(Value number, Value rows, ValueRange state) {
    auto segment = kernel::SegmentOp::create(b, SmallVector<Type>(4, b.getIndexType()), number);
    auto boundary = [&](Value row) -> Value {
      return arith::DivUIOp::create(b, arith::MulIOp::create(b, row, positions), rows);
    };
    Value begin = boundary(segment.getBegin()), end = boundary(segment.getEnd());
    Value first = segment.getFirst(), count = segment.getCount();
    store(number, {begin, end, first, count});
    Value plain = emit.isPlain(first, count);
    SmallVector<Value> sums =
        loops.fold(count, {index(b, 0), state[2], state[3], state[4], state[5], state[6]},
                   [&](Value i, ValueRange sums) { return assignment(loops.add(first, i), plain, sums); });
    Value height = index(b, tileRows);
    Value pieces = arith::CeilDivUIOp::create(b, arith::SubIOp::create(b, end, begin), height);
    emit.loop(index(b, 0), pieces, [&](Value piece) {
      Value from = loops.add(begin, arith::MulIOp::create(b, piece, height));
      Value to = arith::MinUIOp::create(b, loops.add(from, height), end);
      store(loops.add(state[1], piece), {from, to, first, count});
    });
    SmallVector<Value> next{arith::MaxUIOp::create(b, state[0], sums[0]), loops.add(state[1], pieces)};
    next.append(sums.begin() + 1, sums.end());
    return next;
  }
};
} // namespace

static func::FuncOp makeFunction(const TileFunctions &tiles, StringRef name, Type table) {
  ModuleOp module = tiles.getModule();
  ImplicitLocOpBuilder b(module.getLoc(), module.getContext());
  b.setInsertionPointToEnd(module.getBody());
  Type index = b.getIndexType(), flag = b.getI1Type();
  auto function =
      startSharedFunction(b, name, {index, index, table}, {index, index, flag, flag, flag, flag, index});
  Block *entry = b.getInsertionBlock();
  SurveyWriter writer{b, entry->getArgument(1), entry->getArgument(2), tiles.getRows(),
                      RowEmitter(b, entry->getArgument(0))};
  Value segments = kernel::SegmentCountOp::create(b, index), rows = kernel::RowCountOp::create(b, index);
  Value none = rows::index(b, 0), no = writer.emit.no();
  SmallVector<Value> found =
      writer.loops.fold(segments, {none, segments, no, no, no, no, none},
                        [&](Value number, ValueRange state) { return writer.segment(number, rows, state); });
  found[1] = arith::SubIOp::create(b, found[1], segments);
  func::ReturnOp::create(b, found);
  return function;
}

Value adapter::surveyRows(ImplicitLocOpBuilder &b, const TileFunctions &tiles, Value positions) {
  LoopEmitter loops{b};
  Value segments = kernel::SegmentCountOp::create(b, b.getIndexType());
  Value whole = arith::DivUIOp::create(b, positions, index(b, tiles.getRows()));
  return loops.add(whole, loops.add(segments, segments));
}

RowSurvey adapter::callRowSurvey(ImplicitLocOpBuilder &b, const TileFunctions &tiles, Value bank,
                                 Value positions, Value table) {
  constexpr StringLiteral name = "kernel.survey_rows";
  auto function = tiles.getModule().lookupSymbol<func::FuncOp>(name);
  if (!function)
    function = makeFunction(tiles, name, table.getType());
  auto call = func::CallOp::create(b, function, ValueRange{bank, positions, table});
  Value segments = kernel::SegmentCountOp::create(b, b.getIndexType());
  return {segments,          call.getResult(1), call.getResult(0), call.getResult(2),
          call.getResult(3), call.getResult(4), call.getResult(5), call.getResult(6)};
}
