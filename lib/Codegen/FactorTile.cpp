// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The register tile of a factor of low rank. A tile of one vector has as many accumulators as rows; that is too few
// to hide how long a multiply-add takes, so that even and odd steps of K are summed apart.
#include "lib/Codegen/FactorTile.h"
#include "lib/Codegen/SharedFunction.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace adapter;

// Sums of each row, and steps of K in one turn of the loop. The same for any number of rows: what a row gets must
// not depend on its neighbours.
static constexpr int64_t sums = 2, unroll = 4;

namespace {
struct FactorTile {
  ImplicitLocOpBuilder &b;
  int64_t lanes;
  Value input, weight, output, panel, factor;

  Value index(int64_t value) { return arith::ConstantIndexOp::create(b, value); }
  Value add(Value x, int64_t y) { return y ? Value(arith::AddIOp::create(b, x, index(y))) : x; }
  VectorType vectorType() { return VectorType::get(lanes, b.getF32Type()); }

  // Steps [from, to) of K, `steps` in one turn.
  SmallVector<Value> loop(ArrayRef<Value> rowOf, Value from, Value to, int64_t steps,
                          ValueRange accumulators) {
    auto loop = scf::ForOp::create(b, from, to, index(steps), accumulators);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    SmallVector<Value> next(loop.getRegionIterArgs());
    for (int64_t step = 0; step < steps; ++step) {
      Value at = add(loop.getInductionVar(), step);
      Value columns = vector::LoadOp::create(b, vectorType(), weight, ValueRange{panel, at, index(0)});
      for (auto [i, row] : llvm::enumerate(rowOf)) {
        Value scalar = memref::LoadOp::create(b, input, ValueRange{row, at});
        Value &sum = next[i * sums + step % sums];
        sum = vector::FMAOp::create(b, vector::BroadcastOp::create(b, vectorType(), scalar), columns, sum);
      }
    }
    scf::YieldOp::create(b, next);
    return loop.getResults();
  }

  void emit(int64_t rows, Value firstRow) {
    SmallVector<Value> rowOf;
    for (int64_t i = 0; i < rows; ++i)
      rowOf.push_back(add(firstRow, i));
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(vectorType()));
    SmallVector<Value> parts(rows * sums, zero);
    Value depth = b.createOrFold<memref::DimOp>(weight, 1);
    Value rest = arith::SubIOp::create(b, depth, arith::RemUIOp::create(b, depth, index(unroll)));
    parts = loop(rowOf, index(0), rest, unroll, parts);
    parts = loop(rowOf, rest, depth, 1, parts);
    Value column = arith::MulIOp::create(b, panel, index(lanes));
    Value scale = vector::BroadcastOp::create(b, vectorType(), factor);
    for (int64_t i = 0; i < rows; ++i) {
      Value sum = arith::AddFOp::create(b, parts[i * sums], parts[i * sums + 1]);
      vector::StoreOp::create(b, arith::MulFOp::create(b, sum, scale), output, ValueRange{rowOf[i], column});
    }
  }

  void emitRows(int64_t rows, Value begin, Value end) {
    Value count = arith::SubIOp::create(b, end, begin);
    Value left = arith::RemUIOp::create(b, count, index(rows));
    Value fullEnd = arith::SubIOp::create(b, end, left);
    auto full = scf::ForOp::create(b, begin, fullEnd, index(rows));
    SmallVector<int64_t> cases = llvm::to_vector(llvm::seq<int64_t>(1, rows));
    auto tail = scf::IndexSwitchOp::create(b, TypeRange(), left, cases, cases.size());
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(full.getBody());
    emit(rows, full.getInductionVar());
    for (auto [count, region] : llvm::zip(cases, tail.getCaseRegions())) {
      b.createBlock(&region);
      emit(count, fullEnd);
      scf::YieldOp::create(b);
    }
    b.createBlock(&tail.getDefaultRegion());
    scf::YieldOp::create(b);
  }
};
} // namespace

static func::FuncOp makeFunction(const TileFunctions &tiles, StringRef name) {
  ModuleOp module = tiles.getModule();
  ImplicitLocOpBuilder b(module.getLoc(), module.getContext());
  b.setInsertionPointToEnd(module.getBody());
  int64_t any = ShapedType::kDynamic;
  Type matrix = stridedMatrixType(b);
  Type packed = MemRefType::get({any, any, tiles.getLanes()}, b.getF32Type()), index = b.getIndexType();
  auto function = startSharedFunction(b, name, {matrix, packed, matrix, index, index, index, b.getF32Type()});
  Block *entry = b.getInsertionBlock();
  FactorTile tile{b,
                  tiles.getLanes(),
                  entry->getArgument(0),
                  entry->getArgument(1),
                  entry->getArgument(2),
                  entry->getArgument(3),
                  entry->getArgument(6)};
  tile.emitRows(tiles.getRows(), entry->getArgument(4), entry->getArgument(5));
  func::ReturnOp::create(b);
  return function;
}

void adapter::callFactorTile(ImplicitLocOpBuilder &b, const TileFunctions &tiles, Value input, Value weight,
                             Value output, Value panel, Value begin, Value end, Value factor) {
  constexpr StringLiteral name = "kernel.tile_down";
  auto function = tiles.getModule().lookupSymbol<func::FuncOp>(name);
  if (!function)
    function = makeFunction(tiles, name);
  TypeRange types = function.getArgumentTypes();
  auto fit = [&](Value value, Type type) { return b.createOrFold<memref::CastOp>(type, value); };
  func::CallOp::create(b, function,
                       ValueRange{fit(input, types[0]), fit(weight, types[1]), fit(output, types[2]), panel,
                                  begin, end, factor});
}
