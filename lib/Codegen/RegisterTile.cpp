// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The register tile: rows x vectors of accumulators over all of K, one scalar broadcast per row and step.
// Rows left over are tiles of fewer rows, a last block of few columns is tiles of fewer vectors; the columns
// beyond the last in its last vector are computed (the weight is padded with zeros) but not stored.
#include "lib/Codegen/RegisterTile.h"
#include "lib/Codegen/PairRows.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace adapter;

// Steps of K in one turn of the loop: enough that the loop's own instructions do not count; fewer for the tiles of what
// is left of the rows, of which there are many.
static constexpr int64_t unroll = 4, unrollRest = 2;
// A panel of at most so many bytes has room in the second cache beside the one in use and the rows.
static constexpr int64_t smallPanel = 64 << 10;
// How many tiles before a tile's turn what it is added to is asked for.
static constexpr int64_t tilesAhead = 1;
static constexpr int64_t cacheLine = 64, floatBytes = 4;

Value RegisterTile::columnOf(int64_t part) {
  return part ? Value(arith::AddIOp::create(b, column, index(part * lanes))) : column;
}

Value RegisterTile::mask(int64_t part) {
  Value left = arith::SubIOp::create(b, valid, index(part * lanes));
  return vector::CreateMaskOp::create(b, VectorType::get(lanes, b.getI1Type()), ValueRange{left});
}

Value RegisterTile::load(Value from, ValueRange at, int64_t part) {
  if (!isMasked(part))
    return vector::LoadOp::create(b, vectorType(), from, at);
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(vectorType()));
  return vector::MaskedLoadOp::create(b, vectorType(), from, at, mask(part), zero);
}

RegisterTile::Values RegisterTile::initial(ArrayRef<Value> rowOf) {
  SmallVector<Value> accumulators, biases;
  for (int64_t part = 0; part < vectors && start == TileStart::Bias; ++part)
    biases.push_back(load(bias, columnOf(part), part));
  for (Value row : rowOf)
    for (int64_t part = 0; part < vectors; ++part) {
      if (start == TileStart::Bias)
        accumulators.push_back(biases[part]);
      else if (start == TileStart::Output)
        accumulators.push_back(load(output, ValueRange{row, columnOf(part)}, part));
      else
        accumulators.push_back(arith::ConstantOp::create(b, b.getZeroAttr(vectorType())));
    }
  return accumulators;
}

void RegisterTile::bringNear(Ahead ahead, Value k, Value lane) {
  memref::PrefetchOp::create(b, weight, ValueRange{ahead.block, k, lane}, /*isWrite=*/false,
                             /*localityHint=*/2, /*isDataCache=*/true);
}

// `steps` steps of K from k on.
RegisterTile::Values RegisterTile::accumulate(ArrayRef<Value> rowOf, Value k, int64_t steps, Ahead ahead,
                                              ValueRange accumulators) {
  SmallVector<Value> next(accumulators);
  for (int64_t step = 0; step < steps; ++step) {
    Value at = step ? Value(arith::AddIOp::create(b, k, index(step))) : k;
    SmallVector<Value> columns;
    for (int64_t part = 0; part < vectors; ++part) {
      Value lane = index(part * lanes);
      columns.push_back(vector::LoadOp::create(b, vectorType(), weight, ValueRange{block, at, lane}));
      if (!ahead.block || part * lanes * floatBytes % cacheLine)
        continue;
      if (!ahead.phase)
        bringNear(ahead, at, lane);
      else if (step == 0)
        bringNear(ahead, arith::AddIOp::create(b, k, ahead.phase), lane);
    }
    next = addStep(rowOf, at, columns, next);
  }
  return next;
}

// One step of K, of which `columns` are the weight's.
RegisterTile::Values RegisterTile::addStep(ArrayRef<Value> rowOf, Value k, ValueRange columns,
                                           ValueRange accumulators) {
  Values next(accumulators);
  for (auto [i, row] : llvm::enumerate(rowOf)) {
    Value scalar = memref::LoadOp::create(b, input, ValueRange{row, k});
    Value broadcast = vector::BroadcastOp::create(b, vectorType(), scalar);
    for (int64_t part = 0; part < vectors; ++part) {
      Value &accumulator = next[i * vectors + part];
      accumulator = vector::FMAOp::create(b, broadcast, columns[part], accumulator);
    }
  }
  return next;
}

// The steps of one word of a group.
RegisterTile::Values RegisterTile::accumulateWord(const WeightReader &reader, ArrayRef<Value> rowOf,
                                                  Value group, Value word, ValueRange scales,
                                                  ValueRange zeros, ValueRange accumulators) {
  Value first = arith::MulIOp::create(b, group, index(format.steps()));
  first = arith::AddIOp::create(b, first, arith::MulIOp::create(b, word, index(format.stepsInWord())));
  Values words = reader.words(group, word), next(accumulators);
  // Of a pair the second comes first, as it does where one instruction sums both.
  bool isPair = format.getNumber() == kernel::NumberFormat::BF16;
  for (int64_t turn = 0; turn < format.stepsInWord(); ++turn) {
    int64_t step = isPair ? 1 - turn : turn;
    Value k = arith::AddIOp::create(b, first, index(step));
    next = addStep(rowOf, k, reader.numbers(words, step, scales, zeros), next);
  }
  return next;
}

RegisterTile::Values RegisterTile::accumulateGroup(ArrayRef<Value> rowOf, Value group,
                                                   ValueRange accumulators) {
  WeightReader reader{b, format, lanes, vectors, weight, block};
  Values scales = reader.scales(group), zeros = reader.zeros(group);
  if (format.words() == 1)
    return accumulateWord(reader, rowOf, group, index(0), scales, zeros, accumulators);
  auto loop = scf::ForOp::create(b, index(0), index(format.words()), index(1), accumulators);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  scf::YieldOp::create(b, accumulateWord(reader, rowOf, group, loop.getInductionVar(), scales, zeros,
                                         loop.getRegionIterArgs()));
  return loop.getResults();
}

bool RegisterTile::isOfPairs() {
  return !scales && cast<MemRefType>(input.getType()).getElementType().isInteger(32);
}

// A word of a weight of bf16 and one of each row.
RegisterTile::Values RegisterTile::accumulatePairs(ArrayRef<Value> rowOf, Value group,
                                                   ValueRange accumulators) {
  WeightReader reader{b, format, lanes, vectors, weight, block};
  Values columns = reader.words(group, index(0)), next(accumulators);
  for (auto [i, row] : llvm::enumerate(rowOf)) {
    Value pair = memref::LoadOp::create(b, input, ValueRange{row, group});
    Value broadcast = vector::BroadcastOp::create(b, VectorType::get(lanes, b.getI32Type()), pair);
    for (int64_t part = 0; part < vectors; ++part) {
      Value &sum = next[i * vectors + part];
      sum = emitPairDot(b, sum, columns[part], broadcast);
    }
  }
  return next;
}

// Sums of products of integers over one block of the rows, the one number `part` of the group.
RegisterTile::Values RegisterTile::dotsOf(const WeightReader &reader, ArrayRef<Value> rowOf, Value group,
                                          int64_t part) {
  auto integers = VectorType::get(lanes, b.getI32Type());
  Values dots(rowOf.size() * vectors, arith::ConstantOp::create(b, b.getZeroAttr(integers)));
  int64_t words = integerBlock / format.stepsInWord(), parts = format.stepsInWord() / 4;
  Value first = arith::MulIOp::create(b, group, index(format.steps() / 4));
  for (int64_t word = part * words; word < (part + 1) * words; ++word) {
    Values read = reader.words(group, index(word));
    for (int64_t each = 0; each < parts; ++each) {
      Values bytes = reader.bytes(read, each);
      Value at = arith::AddIOp::create(b, first, index(word * parts + each));
      for (auto [i, row] : llvm::enumerate(rowOf)) {
        Value four = memref::LoadOp::create(b, input, ValueRange{row, at});
        Value broadcast = vector::BroadcastOp::create(b, integers, four);
        for (int64_t vector = 0; vector < vectors; ++vector) {
          Value &sum = dots[i * vectors + vector];
          sum = emitDot(b, dot, sum, bytes[vector], broadcast);
        }
      }
    }
  }
  return dots;
}

// A group of a weight of integers and rows of integers.
RegisterTile::Values RegisterTile::accumulateIntegers(ArrayRef<Value> rowOf, Value group,
                                                      ValueRange accumulators) {
  WeightReader reader{b, format, lanes, vectors, weight, block};
  Values ofWeight = reader.scales(group), zeros = reader.zeros(group), next(accumulators);
  int64_t parts = format.steps() / integerBlock;
  for (int64_t part = 0; part < parts; ++part) {
    Values dots = dotsOf(reader, rowOf, group, part);
    Value at = arith::AddIOp::create(b, arith::MulIOp::create(b, group, index(2 * parts)), index(2 * part));
    Value beside = arith::AddIOp::create(b, at, index(1));
    for (auto [i, row] : llvm::enumerate(rowOf)) {
      auto spread = [&](Value place) -> Value {
        return vector::BroadcastOp::create(b, vectorType(),
                                           memref::LoadOp::create(b, scales, ValueRange{row, place}));
      };
      Value scale = spread(at), shift = spread(beside);
      for (int64_t vector = 0; vector < vectors; ++vector) {
        Value &sum = next[i * vectors + vector];
        Value dot = arith::SIToFPOp::create(b, vectorType(), dots[i * vectors + vector]);
        // With zero points the shift is that of one.
        Value repaid = zeros.empty() ? shift : Value(arith::MulFOp::create(b, zeros[vector], shift));
        sum = vector::FMAOp::create(b, ofWeight[vector], vector::FMAOp::create(b, dot, scale, repaid), sum);
      }
    }
  }
  return next;
}

// The panels of a narrow weight lie one behind the other, and the processor brings them near by itself.
RegisterTile::Values RegisterTile::multiplyNarrow(ArrayRef<Value> rowOf, Values sums) {
  auto loop = scf::ForOp::create(b, index(0), b.createOrFold<memref::DimOp>(weight, 1), index(1), sums);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  Value group = loop.getInductionVar();
  scf::YieldOp::create(b, scales        ? accumulateIntegers(rowOf, group, loop.getRegionIterArgs())
                          : isOfPairs() ? accumulatePairs(rowOf, group, loop.getRegionIterArgs())
                                        : accumulateGroup(rowOf, group, loop.getRegionIterArgs()));
  return loop.getResults();
}

RegisterTile::Values RegisterTile::loop(ArrayRef<Value> rowOf, Value from, Value to, int64_t steps,
                                        Ahead ahead, ValueRange accumulators) {
  auto loop = scf::ForOp::create(b, from, to, index(steps), accumulators);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  scf::YieldOp::create(b, accumulate(rowOf, loop.getInductionVar(), steps, ahead, loop.getRegionIterArgs()));
  return loop.getResults();
}

// Adds all steps of K of the tile's product.
RegisterTile::Values RegisterTile::multiply(ArrayRef<Value> rowOf, int64_t unroll, Ahead ahead, Values sums) {
  if (format)
    return multiplyNarrow(rowOf, sums);
  Value depth = b.createOrFold<memref::DimOp>(weight, 1), rest = index(0);
  if (!partial) { // what hangs over is too little work to be worth the code
    Value left = arith::RemUIOp::create(b, depth, index(unroll));
    rest = arith::SubIOp::create(b, depth, left);
    sums = loop(rowOf, index(0), rest, unroll, ahead, sums);
  }
  return loop(rowOf, rest, depth, 1, Ahead(), sums);
}

// What tiles to come add their sums to: it comes from memory while they are computed.
void RegisterTile::bringBaseNear(int64_t rows, Value firstRow) {
  Value last = arith::SubIOp::create(b, b.createOrFold<memref::DimOp>(base, 0), index(rows));
  Value first = arith::AddIOp::create(b, firstRow, index(tilesAhead * rows));
  first = arith::MinUIOp::create(b, first, last);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t part = 0; part < vectors; ++part)
      if (part * lanes * floatBytes % cacheLine == 0)
        memref::PrefetchOp::create(b, base,
                                   ValueRange{arith::AddIOp::create(b, first, index(i)), columnOf(part)},
                                   /*isWrite=*/false, /*localityHint=*/3, /*isDataCache=*/true);
}

void RegisterTile::store(ValueRange rowOf, ArrayRef<Value> sums) {
  SmallVector<Value> columns, masks;
  for (int64_t part = 0; part < vectors; ++part) {
    columns.push_back(columnOf(part));
    masks.push_back(isMasked(part) ? mask(part) : Value());
  }
  // By rows, so that lines of the cache that go past it are whole.
  for (auto [i, row] : llvm::enumerate(rowOf))
    for (int64_t part = 0; part < vectors; ++part) {
      Value sum = sums[i * vectors + part];
      SmallVector<Value> at{row, columns[part]};
      if (base)
        sum = arith::AddFOp::create(b, load(base, at, part), sum);
      if (masks[part])
        vector::MaskedStoreOp::create(b, output, at, masks[part], sum);
      else if (streams)
        vector::StoreOp::create(b, sum, output, at, /*nontemporal=*/true, llvm::Align(lanes * floatBytes));
      else
        vector::StoreOp::create(b, sum, output, at);
    }
}

void RegisterTile::emit(int64_t rows, Value firstRow, int64_t unroll, Ahead ahead) {
  SmallVector<Value> rowOf;
  for (int64_t i = 0; i < rows; ++i)
    rowOf.push_back(arith::AddIOp::create(b, firstRow, index(i)));
  if (base)
    bringBaseNear(rows, firstRow);
  Values sums = multiply(rowOf, unroll, ahead, initial(rowOf));
  if (inner) {
    RegisterTile second = *this;
    second.input = inner;
    second.weight = up;
    sums = second.multiply(rowOf, unroll, Ahead{ahead.block, Value()}, sums);
  }
  store(rowOf, sums);
}

Value RegisterTile::nextBlock() {
  Value last = arith::SubIOp::create(b, b.createOrFold<memref::DimOp>(weight, 0), index(1));
  return arith::MinUIOp::create(b, arith::AddIOp::create(b, block, index(1)), last);
}

Value RegisterTile::isPanelSmall() {
  return arith::CmpIOp::create(b, arith::CmpIPredicate::ule, b.createOrFold<memref::DimOp>(weight, 1),
                               index(smallPanel / (vectors * lanes * floatBytes)));
}

// The tiles of whole `rows` in [begin, end); `aheadOf` says what the one from a row on brings near.
void RegisterTile::emitTiles(int64_t rows, Value begin, Value end, llvm::function_ref<Ahead(Value)> aheadOf) {
  auto loop = scf::ForOp::create(b, begin, end, index(rows));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  Value row = loop.getInductionVar();
  emit(rows, row, unroll, aheadOf(row));
}

// The same for tiles that bring the next block's panel near. Where they are many, each does so for one step of K in
// `unroll`, so that it comes without haste while they compute: the last of them, or all if the panel is small; asked
// for again, it stays. Few would be over too soon for that and ask for all of it.
void RegisterTile::emitTilesAndBringNext(int64_t rows, Value begin, Value end, Value limit) {
  Value next = nextBlock(), isSmall = isPanelSmall();
  Value count = arith::DivUIOp::create(b, arith::SubIOp::create(b, limit, begin), index(rows));
  Value many = arith::CmpIOp::create(b, arith::CmpIPredicate::uge, count, index(unroll));
  auto branch = scf::IfOp::create(b, many, /*withElse=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  emitTiles(rows, begin, end, [&](Value row) {
    Value left = arith::DivUIOp::create(b, arith::SubIOp::create(b, limit, row), index(rows));
    Value isLate = arith::CmpIOp::create(b, arith::CmpIPredicate::ule, left, index(unroll));
    Value bringsNext = arith::OrIOp::create(b, isLate, isSmall);
    return Ahead{arith::SelectOp::create(b, bringsNext, next, block),
                 arith::RemUIOp::create(b, left, index(unroll))};
  });
  b.setInsertionPointToStart(branch.elseBlock());
  emitTiles(rows, begin, end, [&](Value) { return Ahead{next, Value()}; });
}

// Rows [begin, end) by tiles of `rows`, then one of what is left.
void RegisterTile::emitRows(int64_t rows, Value begin, Value end) {
  Value step = index(rows), count = arith::SubIOp::create(b, end, begin);
  Value left = arith::RemUIOp::create(b, count, step), fullEnd = arith::SubIOp::create(b, end, left);
  Ahead ofRest;
  if (partial || base || format) {
    emitTiles(rows, begin, fullEnd, [](Value) { return Ahead(); });
  } else {
    emitTilesAndBringNext(rows, begin, fullEnd, fullEnd);
    // A large panel that comes from memory step by step is only held up by asking for another.
    ofRest.block = arith::SelectOp::create(b, isPanelSmall(), nextBlock(), block);
  }
  SmallVector<int64_t> cases = llvm::to_vector(llvm::seq<int64_t>(1, rows));
  auto tail = scf::IndexSwitchOp::create(b, TypeRange(), left, cases, cases.size());
  OpBuilder::InsertionGuard guard(b);
  for (auto [count, region] : llvm::zip(cases, tail.getCaseRegions())) {
    b.createBlock(&region);
    emit(count, fullEnd, unrollRest, ofRest);
    scf::YieldOp::create(b);
  }
  b.createBlock(&tail.getDefaultRegion());
  scf::YieldOp::create(b);
}

// One variant for whole blocks, and for the last block one for each number of vectors that it may need.
void RegisterTile::emitBlock(int64_t rows, Value begin, Value end) {
  OpBuilder::InsertionGuard guard(b);
  Value width = index(vectors * lanes), columns = b.createOrFold<memref::DimOp>(output, 1);
  valid = arith::MinSIOp::create(b, arith::SubIOp::create(b, columns, column), width);
  Value whole = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, valid, width);
  auto branch = scf::IfOp::create(b, TypeRange(), whole, /*withElse=*/true);
  b.setInsertionPointToStart(branch.thenBlock());
  emitRows(rows, begin, end);
  b.setInsertionPointToStart(branch.elseBlock());
  Value needed = arith::CeilDivSIOp::create(b, valid, index(lanes));
  SmallVector<int64_t> cases = llvm::to_vector(llvm::seq_inclusive<int64_t>(1, vectors));
  auto narrow = scf::IndexSwitchOp::create(b, TypeRange(), needed, cases, cases.size());
  RegisterTile part = *this;
  part.partial = true;
  for (auto [count, region] : llvm::zip(cases, narrow.getCaseRegions())) {
    b.createBlock(&region);
    part.vectors = count;
    part.emitRows(rows, begin, end);
    scf::YieldOp::create(b);
  }
  b.createBlock(&narrow.getDefaultRegion());
  scf::YieldOp::create(b);
}
