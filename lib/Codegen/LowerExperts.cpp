// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Experts: the largest elements of a row, a counting sort that brings each expert's tokens together, products by
// group with the register tiles of kernel.linear, and weighted sums in a fixed order.
#include "lib/Codegen/LowerExperts.h"
#include "lib/Codegen/LoopEmitter.h"
#include <limits>

using namespace mlir;
using namespace adapter;

//===----------------------------------------------------------------------===//
// kernel.top_k
//===----------------------------------------------------------------------===//

// An i64 that is ordered as the elements are: NaN above infinity, both zeros equal.
static Value orderOf(LoopEmitter &emit, Value element, bool isUnsigned) {
  ImplicitLocOpBuilder &b = emit.b;
  Type type = element.getType(), i64 = b.getI64Type();
  if (auto floating = dyn_cast<FloatType>(type)) {
    if (floating.getWidth() < 32) {
      type = b.getF32Type();
      element = arith::ExtFOp::create(b, type, element);
    }
    unsigned width = type.getIntOrFloatBitWidth();
    Type bitsType = b.getIntegerType(width);
    // Adding zero makes -0 to 0.
    Value zero = arith::ConstantOp::create(b, b.getFloatAttr(type, 0.0));
    Value sum = arith::AddFOp::create(b, element, zero);
    Value bits = arith::BitcastOp::create(b, bitsType, sum);
    auto constant = [&](const APInt &value) -> Value {
      return arith::ConstantOp::create(b, b.getIntegerAttr(bitsType, value));
    };
    Value sign = arith::ShRSIOp::create(b, bits, constant(APInt(width, width - 1)));
    Value flip = arith::AndIOp::create(b, sign, constant(APInt::getSignedMaxValue(width)));
    Value order = arith::XOrIOp::create(b, bits, flip);
    Value isNaN = arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, element, element);
    order = arith::SelectOp::create(b, isNaN, constant(APInt::getSignedMaxValue(width)), order);
    return width < 64 ? Value(arith::ExtSIOp::create(b, i64, order)) : order;
  }
  if (type.getIntOrFloatBitWidth() < 64)
    return isUnsigned || type.isInteger(1) ? Value(arith::ExtUIOp::create(b, i64, element))
                                           : Value(arith::ExtSIOp::create(b, i64, element));
  if (!isUnsigned)
    return element;
  return arith::XOrIOp::create(b, element, emit.integer(std::numeric_limits<int64_t>::min()));
}

// Element j is the first in order among those that come after element j - 1: no memory, no sort. Rows are as short
// as there are experts, and few of them are chosen.
static void lowerTopK(kernel::TopKOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  LoopEmitter emit{b};
  Value input = op.getInput(), columns = emit.dim(input, 1), chosen = emit.dim(op.getValues(), 1);
  using Predicate = arith::CmpIPredicate;
  emit.parallel(emit.dim(input, 0), 16, [&](Value row) {
    Value none = emit.index(-1);
    emit.fold(chosen, {emit.integer(0), none}, [&](Value j, ValueRange last) {
      Value isFirst = arith::CmpIOp::create(b, Predicate::eq, last[1], none);
      SmallVector<Value> best = emit.fold(columns, {emit.integer(0), none}, [&](Value n, ValueRange best) {
        Value order = orderOf(emit, emit.load(input, {row, n}), op.getIsUnsigned());
        if (op.getSmallest())
          order = arith::XOrIOp::create(b, order, emit.integer(-1));
        Value below = arith::CmpIOp::create(b, Predicate::slt, order, last[0]);
        Value equal = arith::CmpIOp::create(b, Predicate::eq, order, last[0]);
        Value behind = arith::CmpIOp::create(b, Predicate::sgt, n, last[1]);
        Value follows = arith::OrIOp::create(b, below, arith::AndIOp::create(b, equal, behind));
        Value isLeft = arith::OrIOp::create(b, isFirst, follows);
        Value isAlone = arith::CmpIOp::create(b, Predicate::eq, best[1], none);
        Value isAbove = arith::CmpIOp::create(b, Predicate::sgt, order, best[0]);
        Value take = arith::AndIOp::create(b, isLeft, arith::OrIOp::create(b, isAlone, isAbove));
        return SmallVector<Value>{arith::SelectOp::create(b, take, order, best[0]),
                                  arith::SelectOp::create(b, take, n, best[1])};
      });
      emit.store(emit.load(input, {row, best[1]}), op.getValues(), {row, j});
      emit.storeIndex(best[1], op.getPositions(), {row, j});
      return best;
    });
  });
}

//===----------------------------------------------------------------------===//
// kernel.dispatch, kernel.gather_rows and kernel.combine
//===----------------------------------------------------------------------===//

// A counting sort; it is stable, so that results do not depend on how work is divided.
static void lowerDispatch(kernel::DispatchOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  LoopEmitter emit{b};
  Value ids = op.getIds(), places = op.getPlaces(), offsets = op.getOffsets();
  Value zero = emit.index(0), one = emit.index(1);
  Value tokens = emit.dim(ids, 0), chosen = emit.dim(ids, 1);
  Value experts = arith::SubIOp::create(b, emit.dim(offsets, 0), one);
  auto forEachPair = [&](llvm::function_ref<void(Value, Value)> body) {
    emit.loop(zero, tokens, [&](Value m) { emit.loop(zero, chosen, [&](Value j) { body(m, j); }); });
  };
  emit.loop(zero, emit.dim(offsets, 0), [&](Value e) { emit.storeIndex(zero, offsets, e); });
  // How many pairs each expert has, at the next expert's offset. The ids are kept where places come.
  forEachPair([&](Value m, Value j) {
    Value id = arith::IndexCastOp::create(b, b.getIndexType(), emit.load(ids, {m, j}));
    Value isNegative = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, id, zero);
    Value expert = arith::SelectOp::create(b, isNegative, emit.add(id, experts), id);
    Value isInside = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, expert, experts);
    kernel::RequireOp::create(b, isInside,
                              b.getStringAttr(op.getName() + ": expert {0} is outside {1} experts"),
                              ValueRange{id, experts});
    emit.storeIndex(expert, places, {m, j});
    Value next = emit.add(expert, one);
    emit.storeIndex(emit.add(emit.loadIndex(offsets, next), one), offsets, next);
  });
  if (std::optional<uint64_t> number = op.getNumber())
    kernel::RoutedOp::create(b, *number, places);
  emit.loop(zero, experts, [&](Value e) {
    Value next = emit.add(e, one);
    emit.storeIndex(emit.add(emit.loadIndex(offsets, e), emit.loadIndex(offsets, next)), offsets, next);
  });
  // Placing the pairs moves each expert's offset to the next one's ...
  forEachPair([&](Value m, Value j) {
    Value expert = emit.loadIndex(places, {m, j}), place = emit.loadIndex(offsets, expert);
    emit.storeIndex(emit.add(place, one), offsets, expert);
    emit.storeIndex(place, places, {m, j});
    emit.storeIndex(m, op.getTokens(), place);
  });
  // ... and this moves them back.
  emit.loop(zero, experts, [&](Value e) {
    Value to = arith::SubIOp::create(b, experts, e);
    Value before = arith::SubIOp::create(b, to, one);
    emit.storeIndex(emit.loadIndex(offsets, before), offsets, to);
  });
  emit.storeIndex(zero, offsets, zero);
}

static void lowerGatherRows(kernel::GatherRowsOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  LoopEmitter emit{b};
  Value input = op.getInput(), output = op.getOutput();
  emit.parallel(emit.dim(output, 0), 16, [&](Value p) {
    Value row = emit.loadIndex(op.getRows(), p);
    emit.loop(emit.index(0), emit.dim(output, 1),
              [&](Value n) { emit.store(emit.load(input, {row, n}), output, {p, n}); });
  });
}

static void lowerCombine(kernel::CombineOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  LoopEmitter emit{b};
  Value input = op.getInput(), output = op.getOutput();
  Value zero = emit.index(0), columns = emit.dim(output, 1);
  Value none =
      arith::ConstantOp::create(b, b.getZeroAttr(cast<MemRefType>(output.getType()).getElementType()));
  emit.parallel(emit.dim(output, 0), 16, [&](Value m) {
    emit.loop(zero, columns, [&](Value n) { emit.store(none, output, {m, n}); });
    emit.loop(zero, emit.dim(op.getPlaces(), 1), [&](Value j) {
      Value place = emit.loadIndex(op.getPlaces(), {m, j}), weight = emit.load(op.getWeights(), {m, j});
      emit.loop(zero, columns, [&](Value n) {
        Value part = arith::MulFOp::create(b, emit.load(input, {place, n}), weight);
        emit.store(arith::AddFOp::create(b, emit.load(output, {m, n}), part), output, {m, n});
      });
    });
  });
}

//===----------------------------------------------------------------------===//
// kernel.grouped_linear
//===----------------------------------------------------------------------===//

// One piece of work is a column block of one group, or a chunk of its rows where there are few of those.
static void lowerGroupedLinear(kernel::GroupedLinearOp op, TileFunctions &tiles) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  LoopEmitter emit{b};
  Value weight = op.getWeight(), groups = emit.dim(weight, 0), blocks = emit.dim(weight, 1);
  Value one = emit.index(1), tileRows = emit.index(tiles.getRows());
  // All rows may belong to one group: its own blocks and chunks must keep the threads busy.
  Value chunks = b.createOrFold<arith::MaxSIOp>(b.createOrFold<arith::DivSIOp>(emit.index(16), blocks), one);
  Value pieces = b.createOrFold<arith::MulIOp>(blocks, chunks);
  emit.parallel(b.createOrFold<arith::MulIOp>(groups, pieces), 1, [&](Value piece) {
    Value group = arith::DivUIOp::create(b, piece, pieces), rest = arith::RemUIOp::create(b, piece, pieces);
    Value block = arith::DivUIOp::create(b, rest, chunks), chunk = arith::RemUIOp::create(b, rest, chunks);
    Value first = emit.loadIndex(op.getOffsets(), group);
    Value last = emit.loadIndex(op.getOffsets(), emit.add(group, one));
    Value rowTiles = arith::CeilDivSIOp::create(b, arith::SubIOp::create(b, last, first), tileRows);
    Value chunkRows = arith::MulIOp::create(b, arith::CeilDivSIOp::create(b, rowTiles, chunks), tileRows);
    Value from = emit.add(first, arith::MulIOp::create(b, chunk, chunkRows));
    Value begin = arith::MinSIOp::create(b, from, last);
    Value end = arith::MinSIOp::create(b, emit.add(begin, chunkRows), last);
    Value hasRows = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, begin, end);
    auto branch = scf::IfOp::create(b, TypeRange(), hasRows, /*withElse=*/false);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    Value bias = op.getBias() ? sliceAt(b, op.getBias(), group) : Value();
    tiles.call(b, bias ? TileStart::Bias : TileStart::Zero, op.getInput(), sliceAt(b, weight, group), bias,
               op.getOutput(), block, begin, end);
  });
}

void adapter::lowerExpertOp(Operation *op, TileFunctions &tiles) {
  if (auto topK = dyn_cast<kernel::TopKOp>(op))
    lowerTopK(topK);
  else if (auto dispatch = dyn_cast<kernel::DispatchOp>(op))
    lowerDispatch(dispatch);
  else if (auto gather = dyn_cast<kernel::GatherRowsOp>(op))
    lowerGatherRows(gather);
  else if (auto combine = dyn_cast<kernel::CombineOp>(op))
    lowerCombine(combine);
  else
    lowerGroupedLinear(cast<kernel::GroupedLinearOp>(op), tiles);
  op->erase();
}
