// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A block of columns of kernel.row_linear: the base's product and what segments add to it. Where a tile lies within one
// segment both products are summed in its registers; what is cut by the segments' ends follows at once, while the
// block is near.
#include "lib/Codegen/RowLinear.h"

using namespace mlir;
using namespace adapter;
using namespace adapter::rows;

void RowLinearLowering::multiplyWhole(Value entry, Value to, Value block, const Span &span) {
  Value whole = emit.tensor(entry, kWhole, {any, any, tiles.getBlock()}, {blocks, depth});
  multiply(bias ? TileStart::Bias : TileStart::Zero, source, whole, to, block, span);
}

// The rows of a segment whose tiles make both products at once: those of whole tiles, counted from `begin` on, where one
// adapter adds to the base's product. None elsewhere.
Span RowLinearLowering::together(const Span &span, Value begin, Value block) {
  // Of narrow weights the products follow each other.
  if (!weight || format)
    return {span.begin, span.begin, span.first, span.count};
  auto assignment = kernel::AssignmentOp::create(b, b.getIndexType(), b.getF32Type(), span.first);
  Value entry = assignment.getEntry(), height = index(b, tiles.getRows());
  auto less = [&](Value x, Value y) -> Value {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ult, x, y);
  };
  auto both = [&](Value x, Value y) -> Value { return arith::AndIOp::create(b, x, y); };
  auto wholeTiles = [&](Value rows) -> Value {
    return arith::MulIOp::create(b, arith::DivUIOp::create(b, rows, height), height);
  };
  Value before = arith::SubIOp::create(b, span.begin, begin);
  Value from = loops.add(begin, wholeTiles(loops.add(before, index(b, tiles.getRows() - 1))));
  Value to = loops.add(begin, wholeTiles(arith::SubIOp::create(b, span.end, begin)));
  Value one = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, span.count, index(b, 1));
  Value direct = arith::OrIOp::create(b, emit.isPlain(span.first, span.count), emit.isSum(entry));
  Value replaced = emit.has(entry, kWhole);
  Value able = both(both(one, direct), both(isSome(span), less(from, to)));
  able = both(able, arith::XOrIOp::create(b, replaced, emit.yes()));
  able = both(able, less(index(b, 0), emit.extent(entry, 0)));
  Value isWholeBlock = less(block, arith::DivUIOp::create(b, columns, index(b, tiles.getBlock())));
  able = both(able, isWholeBlock);
  return {arith::SelectOp::create(b, able, from, span.begin),
          arith::SelectOp::create(b, able, to, span.begin), span.first, span.count};
}

// Where the base's product was made before, of rows as they came in: that of rotated ones, in its place.
void RowLinearLowering::multiplyRotated(Value entry, Value plain, Value block, const Span &span) {
  Value turns =
      arith::AndIOp::create(b, arith::AndIOp::create(b, plain, isSome(span)), hasStepsBefore(entry));
  emit.when(turns, [&] { multiplyPristine(TileStart::Zero, source, output, block, span); });
}

// The base's product: whole tiles of a segment with its update, and none for a segment that has a weight of its own.
void RowLinearLowering::multiplyBase(Value block, Value begin, Value end) {
  TileStart start = bias ? TileStart::Bias : TileStart::Zero;
  auto multiplyRows = [&](Value from, Value to) {
    if (weight)
      multiplyPristine(start, source, output, block, {from, to, {}, {}});
  };
  Value rest =
      loops.fold(survey.segments, {begin}, [&](Value segment, ValueRange state) -> SmallVector<Value> {
        Span span = within(segment, begin, end), both = together(span, begin, block);
        Value entry =
            kernel::AssignmentOp::create(b, b.getIndexType(), b.getF32Type(), span.first).getEntry();
        Value plain = emit.isPlain(span.first, span.count);
        Value own =
            arith::AndIOp::create(b, arith::AndIOp::create(b, plain, isSome(span)), emit.has(entry, kWhole));
        emit.when(own, [&] {
          multiplyRows(state[0], span.begin);
          multiplyWhole(entry, output, block, span);
        });
        if (!weight && pristine)
          multiplyRotated(entry, plain, block, span);
        Value hasBoth = isSome(both);
        if (weight && !format)
          emit.when(hasBoth, [&] {
            multiplyRows(state[0], both.begin);
            Value rank = emit.extent(entry, 0);
            FactoredProduct product{source,           weight, bias, output, innerColumns(index(b, 0), rank),
                                    upOf(entry, rank)};
            tiles.callWithFactors(b, product, block, both.begin, both.end, end);
          });
        Value done = arith::SelectOp::create(b, hasBoth, both.end, state[0]);
        return {arith::SelectOp::create(b, own, span.end, done)};
      })[0];
  multiplyRows(rest, end);
}

void RowLinearLowering::addFactors(Value entry, Value firstColumn, Value to, Value block, const Span &span) {
  Value rank = emit.extent(entry, 0);
  Value some = arith::CmpIOp::create(b, arith::CmpIPredicate::ugt, rank, index(b, 0));
  emit.when(arith::AndIOp::create(b, some, isSome(span)), [&] {
    multiply(TileStart::Output, innerColumns(firstColumn, rank), upOf(entry, rank), to, block, span);
  });
}

Value RowLinearLowering::load(Value from, ValueRange at, Value mask) {
  auto type = VectorType::get(tiles.getLanes(), b.getF32Type());
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(type));
  return vector::MaskedLoadOp::create(b, type, from, at, mask, zero);
}

// Calls body([row, column], mask) for each vector of a block.
void RowLinearLowering::forVectors(Value block, const Span &span,
                                   llvm::function_ref<void(ValueRange, Value)> body) {
  int64_t lanes = tiles.getLanes();
  Value first = arith::MulIOp::create(b, block, index(b, tiles.getBlock()));
  for (int64_t part = 0; part < tiles.getBlock(); part += lanes) {
    Value column = loops.add(first, index(b, part)), left = arith::SubIOp::create(b, columns, column);
    Value mask = vector::CreateMaskOp::create(b, VectorType::get(lanes, b.getI1Type()), ValueRange{left});
    emit.loop(span.begin, span.end, [&](Value row) { body(ValueRange{row, column}, mask); });
  }
}

// The bias is not scaled.
void RowLinearLowering::scaleColumns(Value entry, Value of, Value block, const Span &span) {
  emit.when(emit.has(entry, kColumnScale), [&] {
    Value scale = emit.tensor(entry, kColumnScale, {any}, {columns});
    forVectors(block, span, [&](ValueRange at, Value mask) {
      Value value = load(of, at, mask), factor = load(scale, at[1], mask);
      Value constant = bias ? load(bias, at[1], mask) : Value();
      if (bias)
        value = arith::SubFOp::create(b, value, constant);
      value = arith::MulFOp::create(b, value, factor);
      if (bias)
        value = arith::AddFOp::create(b, value, constant);
      store(value, of, at, mask);
    });
  });
}

void RowLinearLowering::copyBase(Value block, const Span &span) {
  forVectors(block, span, [&](ValueRange at, Value mask) { store(load(base, at, mask), own, at, mask); });
}

// output += share (own - base)
void RowLinearLowering::addShare(Value share, Value block, const Span &span) {
  Value factor = vector::BroadcastOp::create(b, VectorType::get(tiles.getLanes(), b.getF32Type()), share);
  forVectors(block, span, [&](ValueRange at, Value mask) {
    Value change = arith::SubFOp::create(b, load(own, at, mask), load(base, at, mask));
    Value part = arith::MulFOp::create(b, change, factor);
    store(arith::AddFOp::create(b, load(output, at, mask), part), output, at, mask);
  });
}

// y + share (y' - y), where y' is more than y and a sum: it is made beside the output, out of what the base made. The rows
// of `done` have the factors' product.
void RowLinearLowering::addAssignment(Value block, const Span &span, const Span &done, Value plain,
                                      Value number, Value firstColumn) {
  auto assignment = kernel::AssignmentOp::create(b, b.getIndexType(), b.getF32Type(), number);
  Value entry = assignment.getEntry();
  Value direct = arith::OrIOp::create(b, plain, emit.isSum(entry));
  emit.when(
      direct,
      [&] {
        addFactors(entry, firstColumn, output, block, {span.begin, done.begin, {}, {}});
        addFactors(entry, firstColumn, output, block, {done.end, span.end, {}, {}});
        scaleColumns(entry, output, block, span);
      },
      [&] {
        // With steps it needs all columns, see RowLinearSteps.cpp.
        Value here = arith::XOrIOp::create(b, emit.has(entry, kStepTable), emit.yes());
        emit.when(here, [&] {
          emit.when(
              emit.has(entry, kWhole), [&] { multiplyWhole(entry, own, block, span); },
              [&] { copyBase(block, span); });
          addFactors(entry, firstColumn, own, block, span);
          scaleColumns(entry, own, block, span);
          addShare(assignment.getWeight(), block, span);
        });
      });
}

void RowLinearLowering::addUpdates(Value block, Value begin, Value end) {
  emit.loop(index(b, 0), survey.segments, [&](Value segment) {
    Span span = within(segment, begin, end);
    emit.when(isSome(span), [&] {
      Span done = together(span, begin, block);
      Value plain = emit.isPlain(span.first, span.count);
      Value needsBase = arith::SelectOp::create(b, plain, emit.no(), survey.anyBeside);
      emit.when(needsBase, [&] {
        // The output of an op that accumulates holds what other banks made of it: changes are those of the weight.
        if (!weight && pristine)
          return multiplyPristine(TileStart::Zero, source, base, block, span);
        forVectors(block, span,
                   [&](ValueRange at, Value mask) { store(load(output, at, mask), base, at, mask); });
      });
      loops.fold(span.count, {index(b, 0)}, [&](Value i, ValueRange state) -> SmallVector<Value> {
        Value number = loops.add(span.first, i);
        addAssignment(block, span, done, plain, number, state[0]);
        Value entry = kernel::AssignmentOp::create(b, b.getIndexType(), b.getF32Type(), number).getEntry();
        return {loops.add(state[0], emit.extent(entry, 0))};
      });
    });
  });
}
