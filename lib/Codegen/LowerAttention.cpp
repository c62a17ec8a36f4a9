// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// kernel.attention: new keys and values are put into panels, behind those that a session's rows keep, then blocks of
// queries are computed in parallel.
#include "lib/Codegen/LowerAttention.h"
#include "lib/Codegen/AttentionRows.h"
#include "lib/Codegen/LoopEmitter.h"
#include "lib/Codegen/SharedFunction.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

static Value index(B &b, int64_t value) { return LoopEmitter{b}.index(value); }
static Value dim(B &b, Value memref, int64_t at) { return LoopEmitter{b}.dim(memref, at); }
static Value plus(B &b, Value x, Value y) { return LoopEmitter{b}.add(x, y); }
static Value times(B &b, Value x, int64_t factor) { return arith::MulIOp::create(b, x, index(b, factor)); }

//===----------------------------------------------------------------------===//
// Keys and values into panels
//===----------------------------------------------------------------------===//

// Puts a vector of the source to its place among a head's keys.
static void keepKey(B &b, const KeyLayout &layout, Value source, Value token, Value memory, Value place) {
  LoopEmitter loops{b};
  Value panel = arith::DivUIOp::create(b, place, index(b, layout.columns));
  Value start = plus(b, times(b, panel, layout.keyWidth * layout.columns),
                     arith::RemUIOp::create(b, place, index(b, layout.columns)));
  loops.loop(index(b, 0), index(b, layout.keyWidth), [&](Value at) {
    loops.store(loops.load(source, {token, at}), memory, plus(b, start, times(b, at, layout.columns)));
  });
}

static void keepValue(B &b, const KeyLayout &layout, Value source, Value token, Value memory, Value place) {
  LoopEmitter loops{b};
  Value step = arith::DivUIOp::create(b, place, index(b, layout.step()));
  Value within = arith::RemUIOp::create(b, place, index(b, layout.step()));
  loops.loop(index(b, 0), index(b, layout.valueBlocks()), [&](Value block) {
    Value panel = plus(b, times(b, step, layout.valueBlocks()), block),
          from = times(b, block, layout.columns);
    Value start = plus(b, times(b, panel, layout.step() * layout.columns), times(b, within, layout.columns));
    Value left = arith::SubIOp::create(b, index(b, layout.valueWidth), from);
    Value end = arith::MinUIOp::create(b, left, index(b, layout.columns));
    loops.loop(index(b, 0), end, [&](Value at) {
      loops.store(loops.load(source, {token, plus(b, from, at)}), memory, plus(b, start, at));
    });
  });
}

// kernel.keep_...(source [n, width], memory, first): puts vectors behind the first ones.
static func::FuncOp getKeep(TileFunctions &tiles, const KeyLayout &layout, bool ofKeys) {
  int64_t width = ofKeys ? layout.keyWidth : layout.valueWidth;
  std::string name = (ofKeys ? "kernel.keep_keys_" : "kernel.keep_values_") + std::to_string(width);
  ModuleOp module = tiles.getModule();
  if (auto known = module.lookupSymbol<func::FuncOp>(name))
    return known;
  B b(module.getLoc(), module.getContext());
  b.setInsertionPointToEnd(module.getBody());
  func::FuncOp function =
      startSharedFunction(b, name, {stridedMatrixType(b), numbersType(b), b.getIndexType()});
  Block *entry = b.getInsertionBlock();
  Value source = entry->getArgument(0), memory = entry->getArgument(1), first = entry->getArgument(2);
  LoopEmitter loops{b};
  loops.loop(loops.index(0), loops.dim(source, 0), [&](Value token) {
    Value place = plus(b, first, token);
    if (ofKeys)
      keepKey(b, layout, source, token, memory, place);
    else
      keepValue(b, layout, source, token, memory, place);
  });
  func::ReturnOp::create(b);
  return function;
}

//===----------------------------------------------------------------------===//
// Views
//===----------------------------------------------------------------------===//

// The vectors of `heads` heads from one on, of one row, as a matrix; of [rows, heads, tokens, width].
static Value matrixAt(B &b, Value tensor, Value row, Value head, int64_t heads) {
  auto type = cast<MemRefType>(tensor.getType());
  int64_t width = type.getDimSize(3);
  Value tokens = dim(b, tensor, 2);
  Value matrix = plus(b, times(b, row, type.getDimSize(1)), head);
  Value offset = times(b, arith::MulIOp::create(b, matrix, tokens), width);
  Value count = times(b, tokens, heads);
  return memref::ReinterpretCastOp::create(b, stridedMatrixType(b), tensor, OpFoldResult(offset),
                                           ArrayRef<OpFoldResult>{count, b.getIndexAttr(width)},
                                           ArrayRef<OpFoldResult>{b.getIndexAttr(width), b.getIndexAttr(1)});
}

static Value numbersAt(B &b, Value memory, Value offset, Value size) {
  return memref::ReinterpretCastOp::create(b, numbersType(b), memory, OpFoldResult(offset),
                                           ArrayRef<OpFoldResult>{size},
                                           ArrayRef<OpFoldResult>{b.getIndexAttr(1)});
}

// A contiguous buffer, or a copy of it.
static Value contiguous(B &b, Value memref, SmallVectorImpl<Value> &copies) {
  auto type = cast<MemRefType>(memref.getType());
  if (type.getLayout().isIdentity())
    return memref;
  SmallVector<Value> sizes;
  for (int64_t i = 0; i < type.getRank(); ++i)
    if (type.isDynamicDim(i))
      sizes.push_back(dim(b, memref, i));
  Value copy = memref::AllocOp::create(b, MemRefType::get(type.getShape(), type.getElementType()), sizes);
  memref::CopyOp::create(b, memref, copy);
  copies.push_back(copy);
  return copy;
}

//===----------------------------------------------------------------------===//
// The op
//===----------------------------------------------------------------------===//

namespace {
// Emits one kernel.attention.
class AttentionLowering {
public:
  AttentionLowering(kernel::AttentionOp op, TileFunctions &tiles)
      : op(op), tiles(tiles), b(op.getLoc(), op), kind(AttentionKind::of(op, tiles.getBlock())) {}

  void run() {
    query = contiguous(b, op.getQuery(), copies);
    key = contiguous(b, op.getKey(), copies);
    value = contiguous(b, op.getValue(), copies);
    if (op.getMask())
      mask = b.createOrFold<memref::CastOp>(maskType(b), contiguous(b, op.getMask(), copies));
    rows = dim(b, query, 0);
    tokens = dim(b, query, 2);
    added = dim(b, key, 2);
    shared = cast<MemRefType>(key.getType()).getDimSize(1);
    group = cast<MemRefType>(query.getType()).getDimSize(1) / shared;
    // A result that is a part of another is made on its own.
    output = op.getOutput();
    bool isPart = !cast<MemRefType>(output.getType()).getLayout().isIdentity();
    if (isPart)
      output = contiguous(b, output, copies);
    if (!op.getState())
      makeRoom();
    keep();
    compute();
    if (isPart)
      memref::CopyOp::create(b, output, op.getOutput());
    for (Value copy : copies)
      memref::DeallocOp::create(b, copy);
    op.erase();
  }

private:
  // Panels for keys and values that no session keeps.
  void makeRoom() {
    Value steps = arith::CeilDivUIOp::create(b, added, index(b, kind.layout.step()));
    room = times(b, steps, kind.layout.step());
    Value heads = times(b, rows, shared), all = arith::MulIOp::create(b, heads, room);
    auto alloc = [&](int64_t numbers) -> Value {
      auto type = MemRefType::get({ShapedType::kDynamic}, b.getF32Type());
      copies.push_back(memref::AllocOp::create(b, type, ValueRange{times(b, all, numbers)}));
      return copies.back();
    };
    keyRoom = alloc(kind.layout.keyNumbers());
    valueRoom = alloc(kind.layout.valueNumbers());
  }

  // Keys or values of one head of a row.
  Value memoryOf(Value row, Value head, bool ofKeys) {
    int64_t numbers = ofKeys ? kind.layout.keyNumbers() : kind.layout.valueNumbers();
    if (!op.getState()) {
      Value size = times(b, room, numbers), at = plus(b, times(b, row, shared), head);
      return numbersAt(b, ofKeys ? keyRoom : valueRoom, arith::MulIOp::create(b, at, size), size);
    }
    Value capacity = kernel::RowCapacityOp::create(b, b.getIndexType(), row);
    Value size = times(b, capacity, numbers), state = index(b, (*op.getState())[ofKeys ? 0 : 1]);
    auto type = MemRefType::get({ShapedType::kDynamic}, b.getF32Type());
    Value memory = kernel::RowMemoryOp::create(b, type, state, row, times(b, size, shared));
    return numbersAt(b, memory, arith::MulIOp::create(b, head, size), size);
  }

  Value lengthBefore(Value row) {
    return op.getState() ? Value(kernel::RowLengthOp::create(b, b.getIndexType(), row)) : index(b, 0);
  }

  void keep() {
    LoopEmitter{b}.parallel(times(b, rows, shared), 1, [&](Value item) {
      Value row = arith::DivUIOp::create(b, item, index(b, shared));
      Value head = arith::RemUIOp::create(b, item, index(b, shared)), before = lengthBefore(row);
      for (bool ofKeys : {true, false})
        func::CallOp::create(
            b, getKeep(tiles, kind.layout, ofKeys),
            ValueRange{matrixAt(b, ofKeys ? key : value, row, head, 1), memoryOf(row, head, ofKeys), before});
    });
  }

  void compute() {
    Value queries = times(b, tokens, group), atOnce = index(b, queriesAtOnce(tiles));
    Value blocks = arith::CeilDivUIOp::create(b, queries, atOnce);
    Value items = arith::MulIOp::create(b, times(b, rows, shared), blocks);
    LoopEmitter{b}.parallel(items, 1, [&](Value item) {
      Value at = arith::DivUIOp::create(b, item, blocks), block = arith::RemUIOp::create(b, item, blocks);
      Value row = arith::DivUIOp::create(b, at, index(b, shared));
      Value head = arith::RemUIOp::create(b, at, index(b, shared));
      Value firstHead = times(b, head, group);
      AttentionRows operands;
      operands.query = matrixAt(b, query, row, firstHead, group);
      operands.output = matrixAt(b, output, row, firstHead, group);
      operands.keys = memoryOf(row, head, /*ofKeys=*/true);
      operands.values = memoryOf(row, head, /*ofKeys=*/false);
      operands.mask = mask;
      operands.length = plus(b, lengthBefore(row), added);
      operands.tokens = tokens;
      operands.batch = row;
      operands.firstHead = firstHead;
      operands.begin = arith::MulIOp::create(b, block, atOnce);
      operands.end = arith::MinUIOp::create(b, plus(b, operands.begin, atOnce), queries);
      callAttentionRows(b, tiles, kind, operands);
    });
  }

  kernel::AttentionOp op;
  TileFunctions &tiles;
  B b;
  AttentionKind kind;
  Value query, key, value, mask, output, rows, tokens, added, room, keyRoom, valueRoom;
  int64_t shared = 1, group = 1;
  SmallVector<Value> copies;
};
} // namespace

void adapter::lowerAttention(kernel::AttentionOp op, TileFunctions &tiles) {
  AttentionLowering(op, tiles).run();
}
