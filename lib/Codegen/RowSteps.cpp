// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See RowSteps.h. One function for the whole module, whatever its adapters do: a loop over steps with a switch over
// kernels, each of which is a loop over vectors of what it makes. The last vector is masked.
#include "lib/Codegen/RowSteps.h"
#include "adapter-rt/artifact.h"
#include "lib/Codegen/LoopEmitter.h"
#include "lib/Codegen/SharedFunction.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace adapter;

// Rows of `blocks` that share what is read of its numbers.
static constexpr int64_t sharingRows = 4;

namespace {
class StepsWriter {
public:
  StepsWriter(ImplicitLocOpBuilder &b, int64_t lanes, const RowSteps &rows, Value begin, Value end)
      : b(b), loops{b}, lanes(lanes), rows(rows), begin(begin), end(end) {}

  void writeStep(Value step);

private:
  Value index(int64_t value) { return loops.index(value); }
  Value word(int64_t at) { return loops.loadIndex(rows.table, {step, index(at)}); }
  Value extent(int64_t at) { return word(ADAPTER_STEP_WORDS - ADAPTER_STEP_EXTENTS + at); }
  Value equals(Value x, int64_t y) { return arith::CmpIOp::create(b, arith::CmpIPredicate::eq, x, index(y)); }
  Value mul(Value x, Value y) { return arith::MulIOp::create(b, x, y); }
  Value numberAt(Value at) { return loops.load(rows.numbers, loops.add(numbers, at)); }
  Value indexAt(Value at) { return loops.loadIndex(rows.indices, loops.add(indices, at)); }
  VectorType vectorType() { return VectorType::get(lanes, b.getF32Type()); }
  Value maskOf(Value left) {
    return vector::CreateMaskOp::create(b, VectorType::get(lanes, b.getI1Type()), left);
  }
  Value load(Value from, ValueRange at, Value mask) {
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(vectorType()));
    return vector::MaskedLoadOp::create(b, vectorType(), from, at, mask, zero);
  }
  void store(Value value, ValueRange at, Value mask) { vector::MaskedStoreOp::create(b, z, at, mask, value); }
  // What is added to: nothing, unless the step accumulates.
  Value before(ValueRange at, Value left) {
    return load(z, at, maskOf(arith::SelectOp::create(b, accumulates, left, index(0))));
  }
  Value scalarBefore(ValueRange at) {
    Value zero = arith::ConstantOp::create(b, b.getF32FloatAttr(0));
    return arith::SelectOp::create(b, accumulates, loops.load(z, at), zero);
  }

  Value bufferOf(Value number);
  void forVectors(Value size, llvm::function_ref<void(Value, Value)> body);
  void writeVectors(llvm::function_ref<Value(Value value, Value column, Value mask)> change);
  void writeBlocks();
  void writeBlockRows(int64_t count, Value row, Value block, Value column, Value left);
  void writePermute();
  void writeGather();

  ImplicitLocOpBuilder &b;
  LoopEmitter loops;
  int64_t lanes;
  const RowSteps &rows;
  Value begin, end;
  // Of the step at hand.
  Value step, x, z, accumulates, numbers, indices;
};
} // namespace

// Temporaries lie side by side in a row.
Value StepsWriter::bufferOf(Value number) {
  Value first = index(ADAPTER_STEP_TEMPORARY);
  Value temporary = arith::SubIOp::create(b, arith::MaxUIOp::create(b, number, first), first);
  SmallVector<OpFoldResult> offsets{b.getIndexAttr(0), mul(temporary, rows.width)};
  SmallVector<OpFoldResult> sizes{loops.dim(rows.temporaries, 0), rows.width};
  SmallVector<OpFoldResult> strides(2, b.getIndexAttr(1));
  Value own = memref::SubViewOp::create(b, rows.temporaries, offsets, sizes, strides);
  own = b.createOrFold<memref::CastOp>(stridedMatrixType(b), own);
  Value other = arith::SelectOp::create(b, equals(number, ADAPTER_STEP_RESULT), rows.result, own);
  return arith::SelectOp::create(b, equals(number, ADAPTER_STEP_INPUT), rows.input, other);
}

// Calls body(first, left) for each vector of `size` elements.
void StepsWriter::forVectors(Value size, llvm::function_ref<void(Value, Value)> body) {
  auto loop = scf::ForOp::create(b, index(0), size, index(lanes));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  Value first = loop.getInductionVar();
  body(first, arith::SubIOp::create(b, size, first));
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

void StepsWriter::writeVectors(llvm::function_ref<Value(Value, Value, Value)> change) {
  forVectors(extent(0), [&](Value column, Value left) {
    Value mask = maskOf(left);
    loops.loop(begin, end, [&](Value row) {
      Value made = change(load(x, {row, column}, mask), column, mask);
      store(arith::AddFOp::create(b, before({row, column}, left), made), {row, column}, mask);
    });
  });
}

// A vector of a block's results, of some rows.
void StepsWriter::writeBlockRows(int64_t count, Value row, Value block, Value column, Value left) {
  Value p = extent(2), q = extent(3), mask = maskOf(left);
  Value shared = equals(extent(5), 1);
  Value tensor = arith::SelectOp::create(b, shared, index(0), mul(block, mul(p, q)));
  Value from = loops.add(loops.add(numbers, tensor), column);
  Value read = mul(block, q), made = loops.add(mul(block, p), column);
  SmallVector<Value> rowOf, sums;
  for (int64_t i = 0; i < count; ++i) {
    rowOf.push_back(loops.add(row, index(i)));
    sums.push_back(before({rowOf[i], made}, left));
  }
  sums = loops.fold(q, sums, [&](Value j, ValueRange state) -> SmallVector<Value> {
    Value numbers = load(rows.numbers, loops.add(from, mul(j, p)), mask);
    SmallVector<Value> next;
    for (int64_t i = 0; i < count; ++i) {
      Value element = loops.load(x, {rowOf[i], loops.add(read, j)});
      Value all = vector::BroadcastOp::create(b, vectorType(), element);
      next.push_back(vector::FMAOp::create(b, all, numbers, state[i]));
    }
    return next;
  });
  for (int64_t i = 0; i < count; ++i)
    store(sums[i], {rowOf[i], made}, mask);
}

void StepsWriter::writeBlocks() {
  Value count = arith::SubIOp::create(b, end, begin), height = index(sharingRows);
  Value whole = arith::SubIOp::create(b, end, arith::RemUIOp::create(b, count, height));
  loops.loop(index(0), extent(4), [&](Value block) {
    forVectors(extent(2), [&](Value column, Value left) {
      auto together = scf::ForOp::create(b, begin, whole, height);
      {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPointToStart(together.getBody());
        writeBlockRows(sharingRows, together.getInductionVar(), block, column, left);
      }
      loops.loop(whole, end, [&](Value row) { writeBlockRows(1, row, block, column, left); });
    });
  });
}

void StepsWriter::writePermute() {
  loops.loop(index(0), extent(0), [&](Value i) {
    Value from = indexAt(i);
    loops.loop(begin, end, [&](Value row) {
      Value sum = arith::AddFOp::create(b, scalarBefore({row, i}), loops.load(x, {row, from}));
      loops.store(sum, z, {row, i});
    });
  });
}

void StepsWriter::writeGather() {
  forVectors(extent(0), [&](Value column, Value left) {
    loops.loop(begin, end,
               [&](Value row) { store(before({row, column}, left), {row, column}, maskOf(left)); });
  });
  Value count = extent(2);
  loops.loop(index(0), count, [&](Value j) {
    Value to = indexAt(j), from = indexAt(loops.add(count, j)), number = numberAt(j);
    loops.loop(begin, end, [&](Value row) {
      Value product = arith::MulFOp::create(b, number, loops.load(x, {row, from}));
      loops.store(arith::AddFOp::create(b, loops.load(z, {row, to}), product), z, {row, to});
    });
  });
}

void StepsWriter::writeStep(Value number) {
  step = number;
  x = bufferOf(word(1));
  z = bufferOf(word(2));
  accumulates = equals(word(3), 1);
  numbers = word(4);
  indices = word(5);
  SmallVector<int64_t> kernels{ADAPTER_STEP_COPY, ADAPTER_STEP_DIAGONAL, ADAPTER_STEP_BLOCKS,
                               ADAPTER_STEP_PERMUTE, ADAPTER_STEP_GATHER};
  auto choose = scf::IndexSwitchOp::create(b, TypeRange(), word(0), kernels, kernels.size());
  auto write = [&](Region &region, llvm::function_ref<void()> body) {
    OpBuilder::InsertionGuard guard(b);
    b.createBlock(&region);
    body();
    scf::YieldOp::create(b);
  };
  auto cases = choose.getCaseRegions();
  write(cases[0], [&] { writeVectors([](Value value, Value, Value) { return value; }); });
  write(cases[1], [&] {
    writeVectors([&](Value value, Value column, Value mask) -> Value {
      return arith::MulFOp::create(b, value, load(rows.numbers, loops.add(numbers, column), mask));
    });
  });
  write(cases[2], [&] { writeBlocks(); });
  write(cases[3], [&] { writePermute(); });
  write(cases[4], [&] { writeGather(); });
  write(choose.getDefaultRegion(), [] {});
}

//===----------------------------------------------------------------------===//
// The function
//===----------------------------------------------------------------------===//

static func::FuncOp makeFunction(const TileFunctions &tiles, StringRef name) {
  ModuleOp module = tiles.getModule();
  ImplicitLocOpBuilder b(module.getLoc(), module.getContext());
  b.setInsertionPointToEnd(module.getBody());
  int64_t any = ShapedType::kDynamic;
  Type index = b.getIndexType(), matrix = stridedMatrixType(b);
  Type table = MemRefType::get({any, ADAPTER_STEP_WORDS}, b.getI64Type());
  Type numbers = MemRefType::get({any}, b.getF32Type()), indices = MemRefType::get({any}, b.getI64Type());
  auto function = startSharedFunction(
      b, name, {table, numbers, indices, matrix, matrix, matrix, index, index, index, index, index});
  auto argument = [&](unsigned i) -> Value { return function.getArgument(i); };
  RowSteps rows{argument(0), argument(1), argument(2), argument(3), argument(4), argument(5), argument(6)};
  StepsWriter writer(b, tiles.getLanes(), rows, argument(9), argument(10));
  LoopEmitter{b}.loop(argument(7), argument(8), [&](Value step) { writer.writeStep(step); });
  func::ReturnOp::create(b);
  return function;
}

void adapter::callRowSteps(ImplicitLocOpBuilder &b, const TileFunctions &tiles, const RowSteps &steps,
                           Value first, Value last, Value begin, Value end) {
  constexpr StringLiteral name = "kernel.run_steps";
  auto function = tiles.getModule().lookupSymbol<func::FuncOp>(name);
  if (!function)
    function = makeFunction(tiles, name);
  SmallVector<Value> operands{
      steps.table, steps.numbers, steps.indices, steps.input, steps.result, steps.temporaries,
      steps.width, first,         last,          begin,       end};
  for (auto [operand, type] : llvm::zip(operands, function.getArgumentTypes()))
    if (isa<MemRefType>(type))
      operand = b.createOrFold<memref::CastOp>(type, operand);
  func::CallOp::create(b, function, operands);
}
