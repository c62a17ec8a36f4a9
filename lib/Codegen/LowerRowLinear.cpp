// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// kernel.row_linear on buffers. The products with `down` come first, tile of rows by tile of rows of each segment.
// Then the base's product, over tiles of all rows as if there were no adapters, with what segments add to them
// (RowLinearBlock.cpp). Steps come before it and behind it (RowLinearSteps.cpp).
#include "lib/Codegen/FactorTile.h"
#include "lib/Codegen/LowerProducts.h"
#include "lib/Codegen/LowerRows.h"
#include "lib/Codegen/RowLinear.h"

using namespace mlir;
using namespace adapter;
using namespace adapter::rows;

Span RowLinearLowering::spanAt(Value row) {
  auto field = [&](SpanField which) { return loops.load(table, {row, index(b, which)}); };
  return {field(kBegin), field(kEnd), field(kFirst), field(kCount)};
}

// What rows [begin, end) have of a segment.
Span RowLinearLowering::within(Value segment, Value begin, Value end) {
  Span span = spanAt(segment);
  span.begin = arith::MaxUIOp::create(b, span.begin, begin);
  span.end = arith::MinUIOp::create(b, span.end, end);
  return span;
}

// `count` columns of the products with `down`.
Value RowLinearLowering::innerColumns(Value first, Value count) {
  SmallVector<OpFoldResult> offsets{b.getIndexAttr(0), first}, sizes{positions, count};
  SmallVector<OpFoldResult> strides(2, b.getIndexAttr(1));
  return memref::SubViewOp::create(b, inner, offsets, sizes, strides);
}

//===----------------------------------------------------------------------===//
// inner = share * input A
//===----------------------------------------------------------------------===//

void RowLinearLowering::multiplyDown() {
  Value some = arith::CmpIOp::create(b, arith::CmpIPredicate::ugt, survey.width, index(b, 0));
  loops.parallel(countIf(some, survey.pieces), 1, [&](Value piece) {
    Span span = spanAt(loops.add(survey.segments, piece));
    loops.fold(span.count, {index(b, 0)}, [&](Value i, ValueRange state) -> SmallVector<Value> {
      auto assignment =
          kernel::AssignmentOp::create(b, b.getIndexType(), b.getF32Type(), loops.add(span.first, i));
      Value entry = assignment.getEntry(), rank = emit.extent(entry, 0);
      // Where the change is the product and nothing else, a share of it is the product's with a share of this.
      Value share = arith::SelectOp::create(b, emit.isSum(entry), assignment.getWeight(), emit.one());
      Value panels = arith::DivUIOp::create(b, rank, index(b, tiles.getLanes()));
      Value down = emit.tensor(entry, kDown, {any, any, tiles.getLanes()}, {panels, depth});
      Value to = innerColumns(state[0], rank);
      emit.loop(index(b, 0), panels, [&](Value panel) {
        callFactorTile(b, tiles, input, down, to, panel, span.begin, span.end, share);
      });
      return {loops.add(state[0], rank)};
    });
  });
}

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

// output[m, o] += share * added * input[m, i] for each changed element (i, o): where it stands is read once for all
// of the piece's positions.
void RowLinearLowering::addSparse(const Span &span, Value number) {
  auto assignment = kernel::AssignmentOp::create(b, b.getIndexType(), b.getF32Type(), number);
  Value entry = assignment.getEntry();
  emit.when(emit.has(entry, kPlaces), [&] {
    Value count = emit.extent(entry, 3);
    Value places = emit.tensor(entry, kPlaces, {2, any}, {count}, b.getI64Type());
    Value added = emit.tensor(entry, kAdded, {any}, {count});
    emit.loop(index(b, 0), count, [&](Value j) {
      Value in = loops.loadIndex(places, {index(b, 0), j}), out = loops.loadIndex(places, {index(b, 1), j});
      Value factor = arith::MulFOp::create(b, loops.load(added, j), assignment.getWeight());
      emit.loop(span.begin, span.end, [&](Value m) {
        Value product = arith::MulFOp::create(b, loops.load(input, {m, in}), factor);
        loops.store(arith::AddFOp::create(b, loops.load(output, {m, out}), product), output, {m, out});
      });
    });
  });
}

//===----------------------------------------------------------------------===//
// All of it
//===----------------------------------------------------------------------===//

void RowLinearLowering::lowerWithSegments() {
  input = rowsOfAnySize(b, op.getInput()), output = rowsOfAnySize(b, op.getOutput());
  pristine = op.getWeight() ? ofAnySize(b, op.getWeight(), /*keepLast=*/true) : Value();
  weight = op.getAccumulate() ? Value() : pristine;
  format = op.getFormatAttr(), mayEnd = op->hasAttr(kernel::partialGroupAttribute);
  bias = op.getBias() ? ofAnySize(b, op.getBias()) : Value();
  positions = dim(b, output, 0), depth = dim(b, input, 1), columns = dim(b, output, 1);
  blocks = arith::CeilDivSIOp::create(b, columns, index(b, tiles.getBlock()));
  table = memref::AllocOp::create(b, MemRefType::get({any, 4}, b.getIndexType()),
                                  surveyRows(b, tiles, positions));
  survey = callRowSurvey(b, tiles, emit.getBank(), positions, table);
  inner = matrix(positions, survey.width);
  Value beside = countIf(survey.anyBeside, positions);
  base = matrix(beside, columns), own = matrix(beside, columns);
  rotated = rowsOfAnySize(b, matrix(countIf(survey.anyBefore, positions), depth));
  temporaries = matrix(countIf(survey.anySteps, positions), survey.temporaries);
  source = arith::SelectOp::create(b, survey.anyBefore, rotated, input);
  emit.when(survey.anyBefore, [&] { callPart("kernel.rotate_rows", &RowLinearLowering::rotateRows); });
  multiplyDown();
  if (pristine)
    rounded = rowsFor(b, tiles, format, source, pristine, mayEnd);
  forEachBlock(b, tiles, positions, blocks, [&](Value block, Value begin, Value end) {
    multiplyBase(block, begin, end);
    addUpdates(block, begin, end);
  });
  loops.parallel(countIf(survey.anySparse, survey.pieces), 1, [&](Value piece) {
    Span span = spanAt(loops.add(survey.segments, piece));
    emit.loop(span.first, loops.add(span.first, span.count), [&](Value number) { addSparse(span, number); });
  });
  emit.when(survey.anySteps, [&] { callPart("kernel.finish_rows", &RowLinearLowering::finishRows); });
  for (Value buffer : {temporaries, rotated, own, base, inner, table})
    memref::DeallocOp::create(b, buffer);
  if (rounded)
    free(b, rounded);
}

void RowLinearLowering::lower() {
  Value segments = kernel::SegmentCountOp::create(b, b.getIndexType());
  Value some = arith::CmpIOp::create(b, arith::CmpIPredicate::ugt, segments, index(b, 0));
  auto alone = [&] {
    emitLinear(b, tiles, op.getInput(), op.getWeight(), op.getBias(), op.getOutput(), op.getFormatAttr(),
               op->hasAttr(kernel::partialGroupAttribute));
  };
  if (!op.getAccumulate())
    emit.when(some, [&] { lowerWithSegments(); }, alone);
  else
    emit.when(some, [&] { lowerWithSegments(); });
  op.erase();
}

void adapter::lowerRowLinear(kernel::RowLinearOp op, TileFunctions &tiles) {
  RowLinearLowering(op, tiles).lower();
}
