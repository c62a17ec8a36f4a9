// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The register tile: rows x 2 vectors of accumulators over all of K, one scalar broadcast per row and step.
// Rows left over are tiles of fewer rows; the columns beyond the last are computed (the weight is padded
// with zeros) but not stored.
#include "lib/Codegen/TileFunction.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace adapter;

namespace {
struct Tile {
  ImplicitLocOpBuilder &b;
  int64_t lanes;
  TileStart start;
  Value input, weight, bias, output, block, column, valid;

  Value index(int64_t value) { return arith::ConstantIndexOp::create(b, value); }
  VectorType vectorType() { return VectorType::get(lanes, b.getF32Type()); }
  Value columnOf(int64_t half) {
    return half ? Value(arith::AddIOp::create(b, column, index(lanes))) : column;
  }

  Value mask(int64_t half) {
    Value left = arith::SubIOp::create(b, valid, index(half * lanes));
    return vector::CreateMaskOp::create(b, VectorType::get(lanes, b.getI1Type()), ValueRange{left});
  }

  // A vector of `from` at `at`, in whole blocks by a plain load, else masked.
  Value load(Value from, ValueRange at, int64_t half, Value whole) {
    auto branch = scf::IfOp::create(b, TypeRange{vectorType()}, whole, /*withElse=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    scf::YieldOp::create(b, ValueRange{vector::LoadOp::create(b, vectorType(), from, at)});
    b.setInsertionPointToStart(branch.elseBlock());
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(vectorType()));
    scf::YieldOp::create(
        b, ValueRange{vector::MaskedLoadOp::create(b, vectorType(), from, at, mask(half), zero)});
    return branch.getResult(0);
  }

  void emit(int64_t rows, Value firstRow) {
    Value zero = index(0), one = index(1),
          whole = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, valid, index(2 * lanes));
    SmallVector<Value> rowOf;
    for (int64_t i = 0; i < rows; ++i)
      rowOf.push_back(arith::AddIOp::create(b, firstRow, index(i)));
    SmallVector<Value> accumulators;
    SmallVector<Value> biases;
    for (int64_t half = 0; half < 2 && start == TileStart::Bias; ++half)
      biases.push_back(load(bias, columnOf(half), half, whole));
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t half = 0; half < 2; ++half) {
        if (start == TileStart::Bias)
          accumulators.push_back(biases[half]);
        else if (start == TileStart::Output)
          accumulators.push_back(load(output, ValueRange{rowOf[i], columnOf(half)}, half, whole));
        else
          accumulators.push_back(arith::ConstantOp::create(b, b.getZeroAttr(vectorType())));
      }
    Value depth = b.createOrFold<memref::DimOp>(weight, 1);
    auto loop = scf::ForOp::create(b, zero, depth, one, accumulators);
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(loop.getBody());
      Value k = loop.getInductionVar();
      Value columns[2];
      for (int64_t half = 0; half < 2; ++half)
        columns[half] =
            vector::LoadOp::create(b, vectorType(), weight, ValueRange{block, k, index(half * lanes)});
      SmallVector<Value> next;
      for (int64_t i = 0; i < rows; ++i) {
        Value scalar = memref::LoadOp::create(b, input, ValueRange{rowOf[i], k});
        Value broadcast = vector::BroadcastOp::create(b, vectorType(), scalar);
        for (int64_t half = 0; half < 2; ++half)
          next.push_back(
              vector::FMAOp::create(b, broadcast, columns[half], loop.getRegionIterArgs()[2 * i + half]));
      }
      scf::YieldOp::create(b, next);
    }
    auto branch = scf::IfOp::create(b, TypeRange(), whole, /*withElse=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t half = 0; half < 2; ++half)
        vector::StoreOp::create(b, loop.getResult(2 * i + half), output,
                                ValueRange{rowOf[i], columnOf(half)});
    b.setInsertionPointToStart(branch.elseBlock());
    for (int64_t half = 0; half < 2; ++half) {
      Value masked = mask(half), at = columnOf(half);
      for (int64_t i = 0; i < rows; ++i)
        vector::MaskedStoreOp::create(b, output, ValueRange{rowOf[i], at}, masked,
                                      loop.getResult(2 * i + half));
    }
  }
};
} // namespace

static MemRefType matrixType(ImplicitLocOpBuilder &b) {
  int64_t any = ShapedType::kDynamic;
  return MemRefType::get({any, any}, b.getF32Type(), StridedLayoutAttr::get(b.getContext(), any, {any, 1}));
}

func::FuncOp TileFunctions::get(TileStart start) {
  func::FuncOp &function = functions[static_cast<int>(start)];
  if (function)
    return function;
  static constexpr const char *names[] = {"kernel.tile", "kernel.tile_bias", "kernel.tile_accumulate"};
  ImplicitLocOpBuilder b(module.getLoc(), module.getContext());
  b.setInsertionPointToEnd(module.getBody());
  int64_t any = ShapedType::kDynamic;
  Type index = b.getIndexType();
  SmallVector<Type> arguments{matrixType(b), MemRefType::get({any, any, getBlock()}, b.getF32Type()),
                              matrixType(b), index,
                              index,         index};
  if (start == TileStart::Bias)
    arguments.push_back(MemRefType::get({any}, b.getF32Type()));
  auto type = b.getFunctionType(arguments, {});
  function = func::FuncOp::create(b, names[static_cast<int>(start)], type);
  function.setPrivate();
  // The tile is large and called from many places.
  function->setAttr("passthrough", b.getArrayAttr(b.getStringAttr("noinline")));
  Block *entry = function.addEntryBlock();
  b.setInsertionPointToStart(entry);
  Value bias = start == TileStart::Bias ? Value(entry->getArgument(6)) : Value();
  Tile tile{b,
            lanes,
            start,
            entry->getArgument(0),
            entry->getArgument(1),
            bias,
            entry->getArgument(2),
            entry->getArgument(3),
            Value(),
            Value()};
  Value begin = entry->getArgument(4), end = entry->getArgument(5);
  Value width = tile.index(getBlock()), step = tile.index(rows);
  tile.column = arith::MulIOp::create(b, tile.block, width);
  Value columns = b.createOrFold<memref::DimOp>(tile.output, 1);
  tile.valid = arith::MinSIOp::create(b, arith::SubIOp::create(b, columns, tile.column), width);

  Value count = arith::SubIOp::create(b, end, begin);
  Value left = arith::RemUIOp::create(b, count, step);
  Value fullEnd = arith::SubIOp::create(b, end, left);
  auto full = scf::ForOp::create(b, begin, fullEnd, step);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(full.getBody());
    tile.emit(rows, full.getInductionVar());
  }
  SmallVector<int64_t> cases;
  for (int64_t i = 1; i < rows; ++i)
    cases.push_back(i);
  auto tail = scf::IndexSwitchOp::create(b, TypeRange(), left, cases, cases.size());
  for (auto [count, region] : llvm::zip(cases, tail.getCaseRegions())) {
    OpBuilder::InsertionGuard guard(b);
    b.createBlock(&region);
    tile.emit(count, fullEnd);
    scf::YieldOp::create(b);
  }
  {
    OpBuilder::InsertionGuard guard(b);
    b.createBlock(&tail.getDefaultRegion());
    scf::YieldOp::create(b);
  }
  func::ReturnOp::create(b);
  return function;
}

void TileFunctions::call(ImplicitLocOpBuilder &b, TileStart start, Value input, Value weight, Value bias,
                         Value output, Value block, Value begin, Value end) {
  func::FuncOp function = get(start);
  TypeRange types = function.getArgumentTypes();
  auto fit = [&](Value value, Type type) { return b.createOrFold<memref::CastOp>(type, value); };
  SmallVector<Value> operands{
      fit(input, types[0]), fit(weight, types[1]), fit(output, types[2]), block, begin, end};
  if (start == TileStart::Bias)
    operands.push_back(fit(bias, types[6]));
  func::CallOp::create(b, function, operands);
}
