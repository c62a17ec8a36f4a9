// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// kernel.update_weight: each part of the weight is read once and written once. What a panel becomes before its columns are
// scaled stays in the second cache. Panels are written past the caches: weights are more than these hold, and memory
// would be read only to be overwritten.
#include "lib/Codegen/LowerWeights.h"
#include "lib/Codegen/LoopEmitter.h"
#include "lib/Codegen/RegisterTile.h"
#include "lib/Codegen/SharedFunction.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace adapter;

// Rows of a matrix that one turn of the loop takes, all columns of them: some tiles' worth.
static constexpr int64_t chunkRows = 48;
static constexpr int64_t floatBytes = 4;

static int64_t widthOf(Value panel) { return cast<MemRefType>(panel.getType()).getDimSize(1); }

namespace {
class WeightLowering {
public:
  WeightLowering(kernel::UpdateWeightOp op, int64_t lanes, int64_t accumulators)
      : b(op.getLoc(), op), op(op), loops{b}, lanes(lanes), accumulators(accumulators) {}

  void lower() {
    if (isPacked())
      lowerPacked();
    else
      lowerMatrix();
    op.erase();
  }

private:
  bool isPacked() { return cast<MemRefType>(op.getWeight().getType()).getRank() == 3; }
  Value index(int64_t value) { return loops.index(value); }
  VectorType vectorOf(Type element) { return VectorType::get(lanes, element); }

  void lowerPacked();
  void lowerMatrix();
  func::FuncOp makeTile(int64_t width, bool streams);
  void callTile(Value base, Value output, Value panel, Value column, Value begin, Value end, bool streams);
  void scalePanel(Value from, Value to, Value panel);
  SmallVector<Value> squares(Value panel);

  ImplicitLocOpBuilder b;
  kernel::UpdateWeightOp op;
  LoopEmitter loops;
  int64_t lanes, accumulators;
};
} // namespace

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

// (down, up, base, output, panel of up, column of output where it goes, rows from, to)
func::FuncOp WeightLowering::makeTile(int64_t width, bool streams) {
  auto module = op->getParentOfType<ModuleOp>();
  std::string name = ((streams ? "kernel.tile_streamed_onto" : "kernel.tile_onto") + Twine(width)).str();
  if (auto known = module.lookupSymbol<func::FuncOp>(name))
    return known;
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToEnd(module.getBody());
  int64_t any = ShapedType::kDynamic;
  Type index = b.getIndexType(), matrix = stridedMatrixType(b);
  Type packed = MemRefType::get({any, any, width}, b.getF32Type());
  auto function = startSharedFunction(b, name, {matrix, packed, matrix, matrix, index, index, index, index});
  auto argument = [&](unsigned i) -> Value { return function.getArgument(i); };
  int64_t vectors = width / lanes, rows = std::max<int64_t>(accumulators / vectors, 1);
  RegisterTile tile{b,
                    lanes,
                    vectors,
                    /*partial=*/false,
                    TileStart::Zero,
                    argument(0),
                    argument(1),
                    Value(),
                    argument(3),
                    argument(4),
                    argument(5),
                    Value(),
                    Value(),
                    Value(),
                    argument(2),
                    streams};
  // Where lines go past the cache, they are those of a panel, of which all columns are there.
  if (streams)
    tile.emitRows(rows, argument(6), argument(7));
  else
    tile.emitBlock(rows, argument(6), argument(7));
  func::ReturnOp::create(b);
  return function;
}

void WeightLowering::callTile(Value base, Value output, Value panel, Value column, Value begin, Value end,
                              bool streams) {
  func::FuncOp function = makeTile(cast<MemRefType>(op.getUp().getType()).getDimSize(2), streams);
  SmallVector<Value> operands{op.getDown(), op.getUp(), base, output, panel, column, begin, end};
  for (auto [operand, type] : llvm::zip(operands, function.getArgumentTypes()))
    if (isa<MemRefType>(type))
      operand = b.createOrFold<memref::CastOp>(type, operand);
  func::CallOp::create(b, function, operands);
}

//===----------------------------------------------------------------------===//
// Columns
//===----------------------------------------------------------------------===//

// Sums of squares over the rows of a panel [k, width], as vectors of f64.
SmallVector<Value> WeightLowering::squares(Value panel) {
  int64_t vectors = widthOf(panel) / lanes;
  VectorType wide = vectorOf(b.getF64Type());
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(wide));
  return loops.fold(loops.dim(panel, 0), SmallVector<Value>(vectors, zero), [&](Value k, ValueRange sums) {
    SmallVector<Value> next;
    for (int64_t part = 0; part < vectors; ++part) {
      Value narrow =
          vector::LoadOp::create(b, vectorOf(b.getF32Type()), panel, ValueRange{k, index(part * lanes)});
      Value element = arith::ExtFOp::create(b, wide, narrow);
      next.push_back(vector::FMAOp::create(b, element, element, sums[part]));
    }
    return next;
  });
}

// to = gain * from, of panels [k, width].
void WeightLowering::scalePanel(Value from, Value to, Value panel) {
  int64_t vectors = widthOf(to) / lanes;
  VectorType type = vectorOf(b.getF32Type());
  SmallVector<Value> factors;
  for (int64_t part = 0; part < vectors; ++part)
    factors.push_back(
        vector::LoadOp::create(b, type, op.getGain(), ValueRange{panel, index(0), index(part * lanes)}));
  if (op.getUnit()) {
    Value none = arith::ConstantOp::create(b, b.getZeroAttr(type));
    for (auto [factor, sum] : llvm::zip(factors, squares(from))) {
      Value length = arith::TruncFOp::create(b, type, math::SqrtOp::create(b, sum));
      Value isZero = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, factor, none);
      Value ratio = arith::DivFOp::create(b, factor, length);
      factor = arith::SelectOp::create(b, isZero, none, ratio);
    }
  }
  loops.loop(index(0), loops.dim(to, 0), [&](Value k) {
    for (int64_t part = 0; part < vectors; ++part) {
      SmallVector<Value> place{k, index(part * lanes)};
      Value scaled = arith::MulFOp::create(b, vector::LoadOp::create(b, type, from, place), factors[part]);
      vector::StoreOp::create(b, scaled, to, place, /*nontemporal=*/true, llvm::Align(lanes * floatBytes));
    }
  });
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

void WeightLowering::lowerPacked() {
  loops.parallel(loops.dim(op.getOutput(), 0), 1, [&](Value panel) {
    Value from = sliceAt(b, op.getWeight(), panel), to = sliceAt(b, op.getOutput(), panel);
    Value zero = index(0), depth = loops.dim(to, 0), sum;
    if (op.getUp() && !op.getGain()) {
      callTile(from, to, panel, zero, zero, depth, /*streams=*/true);
    } else if (op.getUp()) {
      auto type = MemRefType::get({ShapedType::kDynamic, widthOf(to)}, b.getF32Type());
      sum = memref::AllocOp::create(b, type, ValueRange{depth});
      callTile(from, sum, panel, zero, zero, depth, /*streams=*/false);
    }
    if (op.getGain())
      scalePanel(sum ? sum : from, to, panel);
    if (sum)
      memref::DeallocOp::create(b, sum);
  });
}

void WeightLowering::lowerMatrix() {
  Value rows = loops.dim(op.getOutput(), 0), step = index(chunkRows);
  loops.parallel(arith::CeilDivSIOp::create(b, rows, step), 1, [&](Value chunk) {
    Value begin = arith::MulIOp::create(b, chunk, step);
    Value end = arith::MinSIOp::create(b, arith::AddIOp::create(b, begin, step), rows);
    Value width = loops.dim(op.getUp(), 2);
    loops.loop(index(0), loops.dim(op.getUp(), 0), [&](Value panel) {
      callTile(op.getWeight(), op.getOutput(), panel, arith::MulIOp::create(b, panel, width), begin, end,
               /*streams=*/false);
    });
  });
}

void adapter::lowerUpdateWeight(kernel::UpdateWeightOp op, int64_t lanes, int64_t accumulators) {
  // Panels of devices may be narrower than a vector or no multiple of it.
  Value packed = op.getUp() ? op.getUp() : op.getWeight();
  int64_t width = cast<MemRefType>(packed.getType()).getDimSize(2);
  while (width % lanes)
    lanes /= 2;
  WeightLowering(op, lanes, accumulators).lower();
}
