// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The register tile: rows x vectors of accumulators over all of K, one scalar broadcast per row and step.
// Rows left over are tiles of fewer rows, a last block of few columns is tiles of fewer vectors; the columns
// beyond the last in its last vector are computed (the weight is padded with zeros) but not stored.
#include "lib/Codegen/TileFunction.h"
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
static constexpr int64_t cacheLine = 64, floatBytes = 4;

namespace {
// What a tile brings near while it computes: the panel of `block`, all of it, or one step of K in `unroll`, the one at
// `phase`. Nothing without a block.
struct Ahead {
  Value block, phase;
};

struct Tile {
  ImplicitLocOpBuilder &b;
  int64_t lanes;
  int64_t vectors; // of the variant that is being emitted
  bool partial;    // whether its last vector may hang over the output's columns
  TileStart start;
  Value input, weight, bias, output, block, column, valid;

  Value index(int64_t value) { return arith::ConstantIndexOp::create(b, value); }
  VectorType vectorType() { return VectorType::get(lanes, b.getF32Type()); }
  Value columnOf(int64_t part) {
    return part ? Value(arith::AddIOp::create(b, column, index(part * lanes))) : column;
  }

  Value mask(int64_t part) {
    Value left = arith::SubIOp::create(b, valid, index(part * lanes));
    return vector::CreateMaskOp::create(b, VectorType::get(lanes, b.getI1Type()), ValueRange{left});
  }

  // Only the last vector of a tile may be partial.
  bool isMasked(int64_t part) { return partial && part == vectors - 1; }

  Value load(Value from, ValueRange at, int64_t part) {
    if (!isMasked(part))
      return vector::LoadOp::create(b, vectorType(), from, at);
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(vectorType()));
    return vector::MaskedLoadOp::create(b, vectorType(), from, at, mask(part), zero);
  }

  SmallVector<Value> initial(ArrayRef<Value> rowOf) {
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

  void bringNear(Ahead ahead, Value k, Value lane) {
    memref::PrefetchOp::create(b, weight, ValueRange{ahead.block, k, lane}, /*isWrite=*/false,
                               /*localityHint=*/2, /*isDataCache=*/true);
  }

  // `steps` steps of K from k on.
  SmallVector<Value> accumulate(ArrayRef<Value> rowOf, Value k, int64_t steps, Ahead ahead,
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
      for (auto [i, row] : llvm::enumerate(rowOf)) {
        Value scalar = memref::LoadOp::create(b, input, ValueRange{row, at});
        Value broadcast = vector::BroadcastOp::create(b, vectorType(), scalar);
        for (int64_t part = 0; part < vectors; ++part) {
          Value &accumulator = next[i * vectors + part];
          accumulator = vector::FMAOp::create(b, broadcast, columns[part], accumulator);
        }
      }
    }
    return next;
  }

  SmallVector<Value> loop(ArrayRef<Value> rowOf, Value from, Value to, int64_t steps, Ahead ahead,
                          ValueRange accumulators) {
    auto loop = scf::ForOp::create(b, from, to, index(steps), accumulators);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    scf::YieldOp::create(b,
                         accumulate(rowOf, loop.getInductionVar(), steps, ahead, loop.getRegionIterArgs()));
    return loop.getResults();
  }

  void emit(int64_t rows, Value firstRow, int64_t unroll, Ahead ahead) {
    SmallVector<Value> rowOf;
    for (int64_t i = 0; i < rows; ++i)
      rowOf.push_back(arith::AddIOp::create(b, firstRow, index(i)));
    Value depth = b.createOrFold<memref::DimOp>(weight, 1);
    SmallVector<Value> sums = initial(rowOf);
    Value rest = index(0);
    if (!partial) { // what hangs over is too little work to be worth the code
      Value left = arith::RemUIOp::create(b, depth, index(unroll));
      rest = arith::SubIOp::create(b, depth, left);
      sums = loop(rowOf, index(0), rest, unroll, ahead, sums);
    }
    sums = loop(rowOf, rest, depth, 1, Ahead(), sums);
    for (int64_t part = 0; part < vectors; ++part) {
      Value at = columnOf(part), masked = isMasked(part) ? mask(part) : Value();
      for (int64_t i = 0; i < rows; ++i) {
        Value sum = sums[i * vectors + part];
        if (masked)
          vector::MaskedStoreOp::create(b, output, ValueRange{rowOf[i], at}, masked, sum);
        else
          vector::StoreOp::create(b, sum, output, ValueRange{rowOf[i], at});
      }
    }
  }

  Value nextBlock() {
    Value last = arith::SubIOp::create(b, b.createOrFold<memref::DimOp>(weight, 0), index(1));
    return arith::MinUIOp::create(b, arith::AddIOp::create(b, block, index(1)), last);
  }

  Value isPanelSmall() {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ule, b.createOrFold<memref::DimOp>(weight, 1),
                                 index(smallPanel / (vectors * lanes * floatBytes)));
  }

  // The tiles of whole `rows` in [begin, end); `aheadOf` says what the one from a row on brings near.
  void emitTiles(int64_t rows, Value begin, Value end, llvm::function_ref<Ahead(Value)> aheadOf) {
    auto loop = scf::ForOp::create(b, begin, end, index(rows));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    Value row = loop.getInductionVar();
    emit(rows, row, unroll, aheadOf(row));
  }

  // The same for tiles that bring the next block's panel near. Where they are many, each does so for one step of K in
  // `unroll`, so that it comes without haste while they compute: the last of them, or all if the panel is small; asked
  // for again, it stays. Few would be over too soon for that and ask for all of it.
  void emitTilesAndBringNext(int64_t rows, Value begin, Value end, Value next, Value isSmall) {
    Value count = arith::DivUIOp::create(b, arith::SubIOp::create(b, end, begin), index(rows));
    Value many = arith::CmpIOp::create(b, arith::CmpIPredicate::uge, count, index(unroll));
    auto branch = scf::IfOp::create(b, many, /*withElse=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    emitTiles(rows, begin, end, [&](Value row) {
      Value left = arith::DivUIOp::create(b, arith::SubIOp::create(b, end, row), index(rows));
      Value isLate = arith::CmpIOp::create(b, arith::CmpIPredicate::ule, left, index(unroll));
      Value bringsNext = arith::OrIOp::create(b, isLate, isSmall);
      return Ahead{arith::SelectOp::create(b, bringsNext, next, block),
                   arith::RemUIOp::create(b, left, index(unroll))};
    });
    b.setInsertionPointToStart(branch.elseBlock());
    emitTiles(rows, begin, end, [&](Value) { return Ahead{next, Value()}; });
  }

  // Rows [begin, end) by tiles of `rows`, then one of what is left.
  void emitRows(int64_t rows, Value begin, Value end) {
    Value step = index(rows), count = arith::SubIOp::create(b, end, begin);
    Value left = arith::RemUIOp::create(b, count, step), fullEnd = arith::SubIOp::create(b, end, left);
    Ahead ofRest;
    if (partial) {
      emitTiles(rows, begin, fullEnd, [](Value) { return Ahead(); });
    } else {
      Value next = nextBlock(), isSmall = isPanelSmall();
      emitTilesAndBringNext(rows, begin, fullEnd, next, isSmall);
      // A large panel that comes from memory step by step is only held up by asking for another.
      ofRest.block = arith::SelectOp::create(b, isSmall, next, block);
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
};
} // namespace

static MemRefType matrixType(ImplicitLocOpBuilder &b) {
  int64_t any = ShapedType::kDynamic;
  return MemRefType::get({any, any}, b.getF32Type(), StridedLayoutAttr::get(b.getContext(), any, {any, 1}));
}

// A packed weight, or one out of many: then it begins somewhere in their buffer.
static MemRefType weightType(ImplicitLocOpBuilder &b, int64_t block, bool isSlice) {
  int64_t any = ShapedType::kDynamic;
  if (!isSlice)
    return MemRefType::get({any, any, block}, b.getF32Type());
  return MemRefType::get({any, any, block}, b.getF32Type(),
                         StridedLayoutAttr::get(b.getContext(), any, {any, block, 1}));
}

Value adapter::sliceAt(ImplicitLocOpBuilder &b, Value buffer, Value at) {
  auto type = cast<MemRefType>(buffer.getType());
  SmallVector<OpFoldResult> offsets(type.getRank(), b.getIndexAttr(0)),
      strides(type.getRank(), b.getIndexAttr(1));
  SmallVector<OpFoldResult> sizes = memref::getMixedSizes(b, b.getLoc(), buffer);
  offsets[0] = at;
  sizes[0] = b.getIndexAttr(1);
  auto inferred = memref::SubViewOp::inferRankReducedResultType(type.getShape().drop_front(), type, offsets,
                                                                sizes, strides);
  return memref::SubViewOp::create(b, cast<MemRefType>(inferred), buffer, offsets, sizes, strides);
}

func::FuncOp TileFunctions::get(TileStart start, bool isSlice) {
  func::FuncOp &function = functions[isSlice][static_cast<int>(start)];
  if (function)
    return function;
  static constexpr const char *names[] = {"kernel.tile", "kernel.tile_bias", "kernel.tile_accumulate"};
  std::string name = std::string(names[static_cast<int>(start)]) + (isSlice ? "_slice" : "");
  ImplicitLocOpBuilder b(module.getLoc(), module.getContext());
  b.setInsertionPointToEnd(module.getBody());
  int64_t any = ShapedType::kDynamic;
  Type index = b.getIndexType();
  SmallVector<Type> arguments{matrixType(b), weightType(b, getBlock(), isSlice), matrixType(b), index, index,
                              index};
  if (start == TileStart::Bias) {
    // That of a group is a part of all groups' as its weight is.
    auto layout = isSlice ? StridedLayoutAttr::get(b.getContext(), any, {1}) : StridedLayoutAttr();
    arguments.push_back(MemRefType::get({any}, b.getF32Type(), layout));
  }
  auto type = b.getFunctionType(arguments, {});
  function = func::FuncOp::create(b, name, type);
  function.setPrivate();
  // The tile is large and called from many places.
  function->setAttr("passthrough", b.getArrayAttr(b.getStringAttr("noinline")));
  Block *entry = function.addEntryBlock();
  b.setInsertionPointToStart(entry);
  Value bias = start == TileStart::Bias ? Value(entry->getArgument(6)) : Value();
  Tile tile{b,
            lanes,
            vectors,
            /*partial=*/false,
            start,
            entry->getArgument(0),
            entry->getArgument(1),
            bias,
            entry->getArgument(2),
            entry->getArgument(3),
            Value(),
            Value()};
  Value begin = entry->getArgument(4), end = entry->getArgument(5);
  Value width = tile.index(getBlock());
  tile.column = arith::MulIOp::create(b, tile.block, width);
  Value columns = b.createOrFold<memref::DimOp>(tile.output, 1);
  tile.valid = arith::MinSIOp::create(b, arith::SubIOp::create(b, columns, tile.column), width);

  // One variant for whole blocks, and for the last block one for each number of vectors that it may need.
  Value whole = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, tile.valid, width);
  auto branch = scf::IfOp::create(b, TypeRange(), whole, /*withElse=*/true);
  b.setInsertionPointToStart(branch.thenBlock());
  tile.emitRows(rows, begin, end);
  b.setInsertionPointToStart(branch.elseBlock());
  Value needed = arith::CeilDivSIOp::create(b, tile.valid, tile.index(lanes));
  SmallVector<int64_t> cases = llvm::to_vector(llvm::seq_inclusive<int64_t>(1, vectors));
  auto narrow = scf::IndexSwitchOp::create(b, TypeRange(), needed, cases, cases.size());
  tile.partial = true;
  for (auto [count, region] : llvm::zip(cases, narrow.getCaseRegions())) {
    b.createBlock(&region);
    tile.vectors = count;
    tile.emitRows(rows, begin, end);
    scf::YieldOp::create(b);
  }
  b.createBlock(&narrow.getDefaultRegion());
  scf::YieldOp::create(b);
  b.setInsertionPointToEnd(entry);
  func::ReturnOp::create(b);
  return function;
}

void TileFunctions::call(ImplicitLocOpBuilder &b, TileStart start, Value input, Value weight, Value bias,
                         Value output, Value block, Value begin, Value end) {
  bool isSlice = !cast<MemRefType>(weight.getType()).getLayout().isIdentity();
  func::FuncOp function = get(start, isSlice);
  TypeRange types = function.getArgumentTypes();
  auto fit = [&](Value value, Type type) { return b.createOrFold<memref::CastOp>(type, value); };
  SmallVector<Value> operands{
      fit(input, types[0]), fit(weight, types[1]), fit(output, types[2]), block, begin, end};
  if (start == TileStart::Bias)
    operands.push_back(fit(bias, types[6]));
  func::CallOp::create(b, function, operands);
}
