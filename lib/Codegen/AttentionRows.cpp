// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Attention of a block of queries: steps of keys one after the other, each as two products with panels and an online
// softmax between them, which keeps each query's greatest score and sum and rescales what it has so far.
#include "lib/Codegen/AttentionRows.h"
#include "lib/Codegen/LoopEmitter.h"
#include "lib/Codegen/SharedFunction.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

// Tiles of queries that share a step of keys while it is in the cache.
static constexpr int64_t tilesAtOnce = 4;
// Scores to which a mask has added less are seen by nobody: -inf, and the lowest number, which exporters use.
static constexpr double hidden = -1e38;
static constexpr int64_t dynamic = ShapedType::kDynamic;

int64_t adapter::queriesAtOnce(const TileFunctions &tiles) { return tilesAtOnce * tiles.getRows(); }

MemRefType adapter::numbersType(Builder &b) {
  return MemRefType::get({dynamic}, b.getF32Type(), StridedLayoutAttr::get(b.getContext(), dynamic, {1}));
}

MemRefType adapter::maskType(Builder &b) {
  return MemRefType::get({dynamic, dynamic, dynamic, dynamic}, b.getF32Type());
}

AttentionKind AttentionKind::of(kernel::AttentionOp op, int64_t columns) {
  auto width = [](Value value) { return cast<ShapedType>(value.getType()).getDimSize(3); };
  std::optional<float> softcap;
  if (op.getSoftcap())
    softcap = op.getSoftcap()->convertToFloat();
  return {{width(op.getKey()), width(op.getValue()), columns},
          op.getScale().convertToFloat(),
          softcap,
          static_cast<bool>(op.getMask()),
          op.getCausal(),
          op.getZeroMasked(),
          static_cast<int64_t>(op.getWindow().value_or(0))};
}

namespace {
// Emits the functions of one kind.
class RowsEmitter : LoopEmitter {
public:
  RowsEmitter(B &b, TileFunctions &tiles, const AttentionKind &kind)
      : LoopEmitter{b}, tiles(tiles), kind(kind), layout(kind.layout),
        vector(VectorType::get({tiles.getLanes()}, b.getF32Type())) {}

  void emitRows(Block *entry);
  static SmallVector<Type> argumentTypes(B &b, bool hasMask);

private:
  Value flag(bool value) { return arith::ConstantOp::create(b, b.getBoolAttr(value)); }
  Value f32(double value) {
    return arith::ConstantOp::create(b, b.getF32FloatAttr(static_cast<float>(value)));
  }
  Value infinity() {
    return arith::ConstantOp::create(
        b, b.getF32Type(), b.getFloatAttr(b.getF32Type(), -std::numeric_limits<double>::infinity()));
  }
  Value spread(Value scalar) { return vector::BroadcastOp::create(b, vector, scalar); }
  Value sub(Value x, Value y) { return arith::SubIOp::create(b, x, y); }
  Value mul(Value x, Value y) { return arith::MulIOp::create(b, x, y); }
  int64_t parts() { return layout.step() / tiles.getLanes(); }
  Value lanesBelow(Value count) {
    return vector::CreateMaskOp::create(b, VectorType::get({tiles.getLanes()}, b.getI1Type()),
                                        ValueRange{count});
  }
  Value maskVector(Value row, Value key, Value left);
  Value isSeen(Value step);
  std::pair<Value, Value> range();
  Value firstSeen(Value steps, bool fromEnd);
  void computeSteps(Value from, Value to);
  void computeStep(Value step);
  void updateRow(Value row, Value first, Value count);
  void scaleRow(Value row, Value factor);
  void clearRow(Value row) {
    loop(index(0), index(layout.valueWidth), [&](Value at) { store(f32(0), output, ValueRange{row, at}); });
  }
  Value noneIsHidden();
  void finish();

  TileFunctions &tiles;
  const AttentionKind &kind;
  KeyLayout layout;
  VectorType vector;
  AttentionRows arguments;
  Value count;              // queries
  Value query, output;      // of these
  Value scores, peak, sums; // of these, on the stack
  Value maskStart;          // the column of the mask that belongs to the first key
};
} // namespace

SmallVector<Type> RowsEmitter::argumentTypes(B &b, bool hasMask) {
  Type index = b.getIndexType(), matrix = stridedMatrixType(b), numbers = numbersType(b);
  SmallVector<Type> types{matrix, matrix, numbers, numbers, index, index, index, index, index, index};
  if (hasMask)
    types.push_back(maskType(b));
  return types;
}

// Part of the mask for keys from one on, of a query; 0 beyond the `left` ones.
Value RowsEmitter::maskVector(Value row, Value key, Value left) {
  Value query = add(arguments.begin, row), mask = arguments.mask;
  Value head = add(arguments.firstHead, arith::DivUIOp::create(b, query, arguments.tokens));
  Value token = arith::RemUIOp::create(b, query, arguments.tokens);
  SmallVector<Value> at{arguments.batch, head, token};
  for (int64_t i = 0; i < 3; ++i) // what has one position is for all
    at[i] = arith::MinUIOp::create(b, at[i], sub(dim(mask, i), index(1)));
  at.push_back(add(maskStart, key));
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(vector));
  return vector::MaskedLoadOp::create(b, vector, mask, at, lanesBelow(left), zero);
}

// Whether the mask lets any query see a key of a step.
Value RowsEmitter::isSeen(Value step) {
  Value first = mul(step, index(layout.step())), left = sub(arguments.length, first);
  // Queries of several heads often have one mask.
  Value isShared = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, dim(arguments.mask, 1), index(1));
  Value rows =
      arith::SelectOp::create(b, isShared, arith::MinUIOp::create(b, count, arguments.tokens), count);
  return fold(rows, ValueRange{flag(false)}, [&](Value row, ValueRange before) {
    Value seen = before[0];
    for (int64_t part = 0; part < parts(); ++part) {
      Value offset = index(part * tiles.getLanes());
      // Where the step has no key any more, nothing is to be read.
      Value rest = arith::MaxSIOp::create(b, sub(left, offset), index(0));
      Value numbers = maskVector(row, add(first, offset), rest);
      Value isOpen = arith::CmpFOp::create(b, arith::CmpFPredicate::UGT, numbers, spread(f32(hidden)));
      isOpen = arith::AndIOp::create(b, isOpen, lanesBelow(rest));
      Value some = vector::ReductionOp::create(b, vector::CombiningKind::OR, isOpen);
      seen = arith::OrIOp::create(b, seen, some);
    }
    return SmallVector<Value>{seen};
  })[0];
}

// The first step, or how many there are up to the last, of which something is seen.
Value RowsEmitter::firstSeen(Value steps, bool fromEnd) {
  Type type = b.getIndexType();
  auto loop = scf::WhileOp::create(b, TypeRange{type}, ValueRange{index(0)});
  Block *before = b.createBlock(&loop.getBefore(), {}, type, b.getLoc());
  Value passed = before->getArgument(0);
  Value isLeft = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, passed, steps);
  auto look = scf::IfOp::create(b, TypeRange{b.getI1Type()}, isLeft, /*withElse=*/true);
  {
    OpBuilder::InsertionGuard inner(b);
    b.setInsertionPointToStart(look.thenBlock());
    Value seen = isSeen(fromEnd ? sub(sub(steps, index(1)), passed) : passed);
    Value hiddenStep = arith::XOrIOp::create(b, seen, flag(true));
    scf::YieldOp::create(b, hiddenStep);
    b.setInsertionPointToStart(look.elseBlock());
    scf::YieldOp::create(b, ValueRange{flag(false)});
  }
  scf::ConditionOp::create(b, look.getResult(0), ValueRange{passed});
  Block *after = b.createBlock(&loop.getAfter(), {}, type, b.getLoc());
  scf::YieldOp::create(b, ValueRange{add(after->getArgument(0), index(1))});
  b.setInsertionPointAfter(loop);
  return fromEnd ? sub(steps, loop.getResult(0)) : loop.getResult(0);
}

// The steps of keys that some of the queries may see.
std::pair<Value, Value> RowsEmitter::range() {
  Value from = index(0), to = arith::CeilDivUIOp::create(b, arguments.length, index(layout.step()));
  if (kind.causal) {
    // The last query of a head sees most, the first least; those of several heads are all there are.
    Value before = sub(arguments.length, arguments.tokens), last = sub(arguments.end, index(1));
    Value oneHead = arith::CmpIOp::create(b, arith::CmpIPredicate::eq,
                                          arith::DivUIOp::create(b, arguments.begin, arguments.tokens),
                                          arith::DivUIOp::create(b, last, arguments.tokens));
    auto tokenOf = [&](Value query, Value otherwise) -> Value {
      return arith::SelectOp::create(b, oneHead, arith::RemUIOp::create(b, query, arguments.tokens),
                                     otherwise);
    };
    Value newest = add(before, tokenOf(last, sub(arguments.tokens, index(1))));
    to = arith::CeilDivUIOp::create(b, add(newest, index(1)), index(layout.step()));
    if (kind.window) {
      Value oldest = sub(add(before, tokenOf(arguments.begin, index(0))), index(kind.window - 1));
      from = arith::DivUIOp::create(b, arith::MaxSIOp::create(b, oldest, index(0)), index(layout.step()));
    }
  }
  return {from, to};
}

// Two products with the panels of a step.
void RowsEmitter::computeStep(Value step) {
  int64_t columns = layout.columns, keys = layout.step();
  Value first = mul(step, index(keys));
  Value left = arith::MinUIOp::create(b, sub(arguments.length, first), index(keys));
  auto panels = [&](Value memory, int64_t numbers, int64_t blocks, OpFoldResult depth,
                    int64_t stride) -> Value {
    auto type = MemRefType::get({dynamic, dynamic, columns}, b.getF32Type(),
                                StridedLayoutAttr::get(b.getContext(), dynamic, {dynamic, columns, 1}));
    // Offsets of such a cast are counted from the buffer's start, not from the view's.
    Value start = memref::ExtractStridedMetadataOp::create(b, memory).getOffset();
    return memref::ReinterpretCastOp::create(
        b, type, memory, OpFoldResult(add(start, mul(first, index(numbers)))),
        ArrayRef<OpFoldResult>{b.getIndexAttr(blocks), depth, b.getIndexAttr(columns)},
        ArrayRef<OpFoldResult>{OpFoldResult(index(stride)), b.getIndexAttr(columns), b.getIndexAttr(1)});
  };
  Value zero = index(0);
  Value ofKeys = panels(arguments.keys, layout.keyNumbers(), keys / columns, index(layout.keyWidth),
                        layout.keyWidth * columns);
  for (int64_t block = 0; block < keys / columns; ++block)
    tiles.call(b, TileStart::Zero, query, ofKeys, Value(), scores, index(block), zero, count);
  loop(zero, count, [&](Value row) { updateRow(row, first, left); });
  Value ofValues =
      panels(arguments.values, layout.valueNumbers(), layout.valueBlocks(), left, keys * columns);
  for (int64_t block = 0; block < layout.valueBlocks(); ++block)
    tiles.call(b, TileStart::Output, scores, ofValues, Value(), output, index(block), zero, count);
}

// The scores of a query become powers, and what it has so far is scaled accordingly.
void RowsEmitter::updateRow(Value row, Value first, Value left) {
  int64_t lanes = tiles.getLanes();
  Value lowest = infinity(), from = index(0), to = left;
  if (kind.causal) {
    Value token = arith::RemUIOp::create(b, add(arguments.begin, row), arguments.tokens);
    Value newest = add(sub(arguments.length, arguments.tokens), token);
    Value within = sub(add(newest, index(1)), first);
    to = arith::MinSIOp::create(b, left, arith::MaxSIOp::create(b, within, index(0)));
    if (kind.window)
      from = arith::MaxSIOp::create(b, sub(within, index(kind.window)), index(0));
  }
  SmallVector<Value> parts;
  Value most;
  for (int64_t part = 0; part < this->parts(); ++part) {
    Value offset = index(part * lanes);
    Value score = vector::LoadOp::create(b, vector, scores, ValueRange{row, offset});
    score = arith::MulFOp::create(b, score, spread(f32(kind.scale)));
    if (kind.softcap) {
      Value cap = spread(f32(*kind.softcap));
      score = arith::MulFOp::create(b, math::TanhOp::create(b, arith::DivFOp::create(b, score, cap)), cap);
    }
    Value rest = arith::MaxSIOp::create(b, sub(to, offset), index(0));
    if (kind.hasMask)
      score = arith::AddFOp::create(b, score, maskVector(row, add(first, offset), rest));
    Value isKey = lanesBelow(rest);
    if (kind.causal && kind.window) {
      Value older = lanesBelow(arith::MaxSIOp::create(b, sub(from, offset), index(0)));
      Value yes =
          arith::ConstantOp::create(b, DenseElementsAttr::get(cast<ShapedType>(older.getType()), true));
      isKey = arith::AndIOp::create(b, isKey, arith::XOrIOp::create(b, older, yes));
    }
    score = arith::SelectOp::create(b, isKey, score, spread(lowest));
    parts.push_back(score);
    Value isMore = most ? Value(arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, score, most)) : Value();
    most = most ? Value(arith::SelectOp::create(b, isMore, score, most)) : score;
  }
  Value before = load(peak, ValueRange{row});
  Value now = vector::ReductionOp::create(b, vector::CombiningKind::MAXNUMF, most, before);
  store(now, peak, ValueRange{row});
  // Nothing seen yet: whatever is subtracted, powers are 0.
  Value none = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, now, lowest);
  Value base = arith::SelectOp::create(b, none, f32(0), now);
  Value factor = math::ExpOp::create(b, arith::SubFOp::create(b, before, base));
  Value total;
  for (auto [part, score] : llvm::enumerate(parts)) {
    Value power = math::ExpOp::create(b, arith::SubFOp::create(b, score, spread(base)));
    vector::StoreOp::create(b, power, scores, ValueRange{row, index(part * lanes)});
    total = total ? Value(arith::AddFOp::create(b, total, power)) : power;
  }
  Value sum =
      vector::ReductionOp::create(b, vector::CombiningKind::ADD, total, arith::FastMathFlags::reassoc);
  Value old = load(sums, ValueRange{row});
  store(math::FmaOp::create(b, old, factor, sum), sums, ValueRange{row});
  Value stays = arith::CmpFOp::create(b, arith::CmpFPredicate::UNE, factor, f32(1));
  auto changes = scf::IfOp::create(b, stays);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(changes.thenBlock());
  scaleRow(row, factor);
}

// Multiplies a row of the output.
void RowsEmitter::scaleRow(Value row, Value factor) {
  int64_t lanes = tiles.getLanes(), width = layout.valueWidth;
  for (int64_t at = 0; at + lanes <= width; at += lanes) {
    Value part = vector::LoadOp::create(b, vector, output, ValueRange{row, index(at)});
    vector::StoreOp::create(b, arith::MulFOp::create(b, part, spread(factor)), output,
                            ValueRange{row, index(at)});
  }
  for (int64_t at = width / lanes * lanes; at < width; ++at) {
    Value number = load(output, ValueRange{row, index(at)});
    store(arith::MulFOp::create(b, number, factor), output, ValueRange{row, index(at)});
  }
}

// Sums of all keys of some steps, from nothing.
void RowsEmitter::computeSteps(Value from, Value to) {
  loop(index(0), count, [&](Value row) {
    store(infinity(), peak, ValueRange{row});
    store(f32(0), sums, ValueRange{row});
    clearRow(row);
  });
  loop(from, to, [&](Value step) { computeStep(step); });
}

// Whether every query has seen a key.
Value RowsEmitter::noneIsHidden() {
  return fold(count, ValueRange{flag(true)}, [&](Value row, ValueRange before) {
    Value most = load(peak, ValueRange{row});
    Value sees = arith::CmpFOp::create(b, arith::CmpFPredicate::UGT, most, f32(hidden));
    return SmallVector<Value>{arith::AndIOp::create(b, before[0], sees)};
  })[0];
}

void RowsEmitter::finish() {
  loop(index(0), count, [&](Value row) {
    Value sum = load(sums, ValueRange{row});
    Value factor = arith::DivFOp::create(b, f32(1), sum);
    if (!kind.zeroMasked)
      return scaleRow(row, factor);
    Value isSum = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, sum, f32(0));
    auto branch = scf::IfOp::create(b, isSum, /*withElse=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    scaleRow(row, factor);
    b.setInsertionPointToStart(branch.elseBlock());
    clearRow(row);
  });
}

void RowsEmitter::emitRows(Block *entry) {
  auto argument = [&](unsigned i) -> Value { return entry->getArgument(i); };
  arguments = {argument(0), argument(1), argument(2), argument(3), kind.hasMask ? argument(10) : Value(),
               argument(4), argument(5), argument(6), argument(7), argument(8),
               argument(9)};
  count = sub(arguments.end, arguments.begin);
  auto part = [&](Value matrix, int64_t width) -> Value {
    Value view =
        memref::SubViewOp::create(b, matrix, ArrayRef<OpFoldResult>{arguments.begin, b.getIndexAttr(0)},
                                  ArrayRef<OpFoldResult>{count, b.getIndexAttr(width)},
                                  ArrayRef<OpFoldResult>{b.getIndexAttr(1), b.getIndexAttr(1)});
    return b.createOrFold<memref::CastOp>(stridedMatrixType(b), view);
  };
  query = part(arguments.query, layout.keyWidth);
  output = part(arguments.output, layout.valueWidth);
  int64_t most = queriesAtOnce(tiles);
  auto onStack = [&](ArrayRef<int64_t> shape) -> Value {
    return memref::AllocaOp::create(b, MemRefType::get(shape, b.getF32Type()), b.getI64IntegerAttr(64));
  };
  scores = onStack({most, layout.step()});
  peak = onStack({most});
  sums = onStack({most});
  auto [from, to] = range();
  if (kind.hasMask)
    maskStart = sub(dim(arguments.mask, 3), arguments.length);
  if (!kind.hasMask) {
    computeSteps(from, to);
    return finish();
  }
  // Steps that the mask hides from all queries change nothing, unless one sees nothing at all.
  Value all = to;
  Value first = firstSeen(all, /*fromEnd=*/false), last = firstSeen(all, /*fromEnd=*/true);
  first = arith::MaxUIOp::create(b, from, first);
  computeSteps(first, last);
  auto again = scf::IfOp::create(b, arith::XOrIOp::create(b, noneIsHidden(), flag(true)));
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(again.thenBlock());
    computeSteps(from, all);
  }
  finish();
}

// One function for attention of one kind.
static func::FuncOp getRows(TileFunctions &tiles, const AttentionKind &kind) {
  std::string name;
  llvm::raw_string_ostream stream(name);
  stream << "kernel.attention_" << kind.layout.keyWidth << "_" << kind.layout.valueWidth << "_"
         << llvm::bit_cast<uint32_t>(kind.scale);
  if (kind.softcap)
    stream << "_cap_" << llvm::bit_cast<uint32_t>(*kind.softcap);
  if (kind.hasMask)
    stream << "_mask";
  if (kind.causal)
    stream << "_causal";
  if (kind.window)
    stream << "_window_" << kind.window;
  if (kind.zeroMasked)
    stream << "_zero";
  ModuleOp module = tiles.getModule();
  if (auto known = module.lookupSymbol<func::FuncOp>(name))
    return known;
  B b(module.getLoc(), module.getContext());
  b.setInsertionPointToEnd(module.getBody());
  func::FuncOp function = startSharedFunction(b, name, RowsEmitter::argumentTypes(b, kind.hasMask));
  Block *entry = b.getInsertionBlock();
  RowsEmitter(b, tiles, kind).emitRows(entry);
  b.setInsertionPointToEnd(entry);
  func::ReturnOp::create(b);
  return function;
}

void adapter::callAttentionRows(B &b, TileFunctions &tiles, const AttentionKind &kind,
                                const AttentionRows &rows) {
  func::FuncOp function = getRows(tiles, kind);
  SmallVector<Value> operands{rows.query,  rows.output, rows.keys,      rows.values, rows.length,
                              rows.tokens, rows.batch,  rows.firstHead, rows.begin,  rows.end};
  if (kind.hasMask)
    operands.push_back(rows.mask);
  func::CallOp::create(b, function, operands);
}
