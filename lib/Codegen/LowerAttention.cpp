// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// kernel.attention: new keys and values are put into panels, behind those that a session's rows keep, then blocks of
// queries are computed in parallel.
#include "lib/Codegen/LowerAttention.h"
#include "lib/Codegen/AttentionRows.h"
#include "lib/Codegen/SharedFunction.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

static Value index(B &b, int64_t value) { return arith::ConstantIndexOp::create(b, value); }
static Value dim(B &b, Value memref, int64_t at) { return b.createOrFold<memref::DimOp>(memref, at); }
static Value times(B &b, Value x, int64_t factor) { return arith::MulIOp::create(b, x, index(b, factor)); }
static Value plus(B &b, Value x, Value y) { return arith::AddIOp::create(b, x, y); }

//===----------------------------------------------------------------------===//
// Keys and values into panels
//===----------------------------------------------------------------------===//

// Starts a loop over [0, end) and leaves the builder in it.
static Value startLoop(B &b, Value end) {
  auto loop = scf::ForOp::create(b, index(b, 0), end, index(b, 1));
  b.setInsertionPointToStart(loop.getBody());
  return loop.getInductionVar();
}

// kernel.keep_...(source [n, width], memory, first): puts vectors behind the first ones.
static func::FuncOp getKeep(TileFunctions &tiles, const KeyLayout &layout, bool ofKeys) {
  int64_t width = ofKeys ? layout.keyWidth : layout.valueWidth, columns = layout.columns;
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
  func::ReturnOp::create(b);
  b.setInsertionPointToStart(entry);
  Value token = startLoop(b, dim(b, source, 0)), place = plus(b, first, token);
  if (ofKeys) {
    Value panel = arith::DivUIOp::create(b, place, index(b, columns));
    Value start =
        plus(b, times(b, panel, width * columns), arith::RemUIOp::create(b, place, index(b, columns)));
    Value at = startLoop(b, index(b, width));
    Value number = memref::LoadOp::create(b, source, ValueRange{token, at});
    memref::StoreOp::create(b, number, memory, ValueRange{plus(b, start, times(b, at, columns))});
    return function;
  }
  Value step = arith::DivUIOp::create(b, place, index(b, layout.step()));
  Value within = arith::RemUIOp::create(b, place, index(b, layout.step()));
  Value block = startLoop(b, index(b, layout.valueBlocks()));
  Value panel = plus(b, times(b, step, layout.valueBlocks()), block), from = times(b, block, columns);
  Value start = plus(b, times(b, panel, layout.step() * columns), times(b, within, columns));
  Value left = arith::SubIOp::create(b, index(b, width), from);
  Value at = startLoop(b, arith::MinUIOp::create(b, left, index(b, columns)));
  Value number = memref::LoadOp::create(b, source, ValueRange{token, plus(b, from, at)});
  memref::StoreOp::create(b, number, memory, ValueRange{plus(b, start, at)});
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

  // Runs `body` for every number below `count`, several at a time.
  void parallel(Value count, llvm::function_ref<void(Value)> body) {
    auto loop = kernel::ParallelOp::create(b, count, index(b, 1));
    OpBuilder::InsertionGuard guard(b);
    Block *block = b.createBlock(&loop.getBody(), {}, b.getIndexType(), b.getLoc());
    body(block->getArgument(0));
    kernel::YieldOp::create(b);
  }

  void keep() {
    parallel(times(b, rows, shared), [&](Value item) {
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
    parallel(arith::MulIOp::create(b, times(b, rows, shared), blocks), [&](Value item) {
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
