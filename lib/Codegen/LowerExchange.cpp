// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Experts of several processes: what each process is sent, and the order of what it gets. Both are counting sorts
// in one thread, as kernel.dispatch is. The exchanges themselves stay for kernel-lower-calls; here they get
// contiguous buffers.
#include "lib/Codegen/LoopEmitter.h"
#include "lib/Codegen/LowerExperts.h"

using namespace mlir;
using namespace adapter;

static void lowerUniqueRows(kernel::UniqueRowsOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  LoopEmitter emit{b};
  Value seen = op.getSeen(), rows = op.getRows(), one = emit.index(1), zero = emit.index(0);
  int64_t processes = cast<MemRefType>(op.getBounds().getType()).getDimSize(0) - 1;
  int64_t share = (cast<MemRefType>(op.getOffsets().getType()).getDimSize(0) - 1) / processes;
  // Where a token's row stands, of all; one that stands before the process's first row was another's.
  emit.loop(zero, emit.dim(seen, 0), [&](Value m) { emit.storeIndex(emit.index(-1), seen, m); });
  emit.storeIndex(zero, op.getBounds(), zero);
  emit.loop(zero, emit.index(processes), [&](Value process) {
    Value next = emit.add(process, one);
    auto firstPair = [&](Value of) {
      return emit.loadIndex(op.getOffsets(), Value(arith::MulIOp::create(b, of, emit.index(share))));
    };
    Value from = firstPair(process), to = firstPair(next), begin = emit.loadIndex(op.getBounds(), process);
    auto range = scf::ForOp::create(b, from, to, one, begin);
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(range.getBody());
      Value pair = range.getInductionVar(), count = range.getRegionIterArg(0);
      Value token = emit.loadIndex(op.getTokens(), pair), before = emit.loadIndex(seen, token);
      Value isNew = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, before, begin);
      Value place = arith::SelectOp::create(b, isNew, count, before);
      // Written anew where it stands already: the same value.
      emit.storeIndex(place, seen, token);
      emit.storeIndex(token, rows, place);
      emit.storeIndex(arith::SubIOp::create(b, place, begin), op.getIndex(), pair);
      Value more = arith::SelectOp::create(b, isNew, emit.add(count, one), count);
      scf::YieldOp::create(b, more);
    }
    emit.storeIndex(range.getResult(0), op.getBounds(), next);
  });
  op.erase();
}

static void lowerArrangeRows(kernel::ArrangeRowsOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  LoopEmitter emit{b};
  ArrayRef<int64_t> shape = cast<MemRefType>(op.getCounts().getType()).getShape();
  Value counts = op.getCounts(), offsets = op.getOffsets(), zero = emit.index(0), one = emit.index(1);
  Value processes = emit.index(shape[0]), share = emit.index(shape[1] - 1);
  Value first = arith::MulIOp::create(b, op.getProcess(), share);
  // How many pairs the first `to` processes have for expert g.
  auto pairsOf = [&](Value g, Value to) -> Value {
    return emit.fold(to, {zero}, [&](Value s, ValueRange sum) {
      return SmallVector<Value>{emit.add(sum[0], emit.loadIndex(counts, ValueRange{s, g}))};
    })[0];
  };
  // Others' experts have no pairs: none before this process's, none behind.
  emit.loop(zero, emit.add(first, one), [&](Value e) { emit.storeIndex(zero, offsets, e); });
  emit.loop(zero, share, [&](Value g) {
    Value e = emit.add(first, g);
    emit.storeIndex(emit.add(emit.loadIndex(offsets, e), pairsOf(g, processes)), offsets, emit.add(e, one));
  });
  Value last = emit.add(first, share), all = emit.loadIndex(offsets, last);
  emit.loop(last, emit.dim(offsets, 0), [&](Value e) { emit.storeIndex(all, offsets, e); });
  // As they came: the pair's number, and the first row of its process.
  emit.fold(processes, {zero, zero}, [&](Value s, ValueRange came) {
    SmallVector<Value> pair = emit.fold(share, {came[0]}, [&](Value g, ValueRange pair) {
      Value count = emit.loadIndex(counts, ValueRange{s, g});
      Value place = emit.add(emit.loadIndex(offsets, emit.add(first, g)), pairsOf(g, s));
      emit.loop(zero, count, [&](Value i) {
        Value to = emit.add(place, i), from = emit.add(pair[0], i);
        emit.storeIndex(to, op.getPlaces(), from);
        emit.storeIndex(emit.add(came[1], emit.loadIndex(op.getIndex(), from)), op.getRows(), to);
      });
      return SmallVector<Value>{emit.add(pair[0], count)};
    });
    Value rows = emit.loadIndex(counts, ValueRange{s, share});
    return SmallVector<Value>{pair[0], emit.add(came[1], rows)};
  });
  op.erase();
}

static void copyRows(LoopEmitter &emit, Value from, Value to) {
  int64_t rank = cast<MemRefType>(from.getType()).getRank();
  emit.parallel(emit.dim(from, 0), 16, [&](Value row) {
    SmallVector<Value> at{row};
    std::function<void(int64_t)> nest = [&](int64_t dim) {
      if (dim == rank) {
        emit.store(emit.load(from, at), to, at);
        return;
      }
      emit.loop(emit.index(0), emit.dim(from, dim), [&](Value i) {
        at.push_back(i);
        nest(dim + 1);
        at.pop_back();
      });
    };
    nest(1);
  });
}

// The host knows no strides: a buffer that is a part of another is exchanged by way of one of its own.
static void makeContiguous(Operation *op) {
  ImplicitLocOpBuilder b(op->getLoc(), op);
  LoopEmitter emit{b};
  for (OpOperand &operand : op->getOpOperands()) {
    auto type = dyn_cast<MemRefType>(operand.get().getType());
    if (!type || type.getLayout().isIdentity())
      continue;
    Value part = operand.get();
    b.setInsertionPoint(op);
    SmallVector<Value> sizes;
    for (int64_t dim = 0; dim < type.getRank(); ++dim)
      if (type.isDynamicDim(dim))
        sizes.push_back(memref::DimOp::create(b, part, dim));
    Value whole = memref::AllocOp::create(b, MemRefType::get(type.getShape(), type.getElementType()), sizes);
    bool isOutput = cast<DestinationStyleOpInterface>(op).isDpsInit(&operand);
    if (!isOutput)
      copyRows(emit, part, whole);
    operand.set(whole);
    b.setInsertionPointAfter(op);
    if (isOutput)
      copyRows(emit, whole, part);
    memref::DeallocOp::create(b, whole);
  }
}

void adapter::lowerExchangeOp(Operation *op) {
  if (auto unique = dyn_cast<kernel::UniqueRowsOp>(op))
    lowerUniqueRows(unique);
  else if (auto arrange = dyn_cast<kernel::ArrangeRowsOp>(op))
    lowerArrangeRows(arrange);
  else
    makeContiguous(op);
}
