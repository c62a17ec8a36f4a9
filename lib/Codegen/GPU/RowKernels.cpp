// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Updates that differ by row, on device buffers. The rows of a call lie one after the other, so each row's
// positions are one segment of the first dimension; a group's tile lies within one segment, and all of its
// threads agree on the entry.
#include "adapter-rt/artifact.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Codegen/EntryTensors.h"
#include "lib/Codegen/GPU/ProductTile.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace adapter;

// The parts of an entry in a bank's table, see kernel.bank_table: its tensors, then its extents.
static constexpr int64_t kExtents = ADAPTER_ENTRY_TENSORS,
                         kEntry = ADAPTER_ENTRY_TENSORS + ADAPTER_ENTRY_EXTENTS;

namespace {
class RowKernels {
public:
  RowKernels(Operation *op, int64_t bank, const DeviceStrategy &strategy)
      : b(op->getLoc(), op), strategy(strategy), bank(bank), host(b, strategy, "") {
    auto buffer = [&](Type element) { return onDevice(MemRefType::get({ShapedType::kDynamic}, element)); };
    numbersBuffer = kernel::BankNumbersOp::create(b, buffer(b.getF32Type()), bank);
    tableBuffer = kernel::BankTableOp::create(b, buffer(b.getI32Type()), bank);
    entriesBuffer = kernel::RowEntriesOp::create(b, buffer(b.getI32Type()));
    rows = kernel::RowCountOp::create(b, b.getIndexType());
  }

  LogicalResult lower(kernel::RowLinearOp op) {
    Value input = op.getInput(), output = op.getOutput();
    bias = op.getBias();
    if (!op.getAccumulate()) {
      auto base = kernel::LinearOp::create(b, TypeRange(), input, op.getWeight(), bias, output);
      if (failed(lowerProductToKernel(base, strategy)))
        return failure();
    }
    Value depth = dim(input, 1), columns = dim(output, 1), positions = dim(output, 0);
    product(input, output, positions, depth, columns, Part::Whole);
    Value rank = highest(0);
    auto type = onDevice(MemRefType::get({ShapedType::kDynamic, ShapedType::kDynamic}, b.getF32Type()));
    Value inner = memref::AllocOp::create(b, type, ValueRange{positions, rank});
    product(input, inner, positions, depth, rank, Part::Down);
    product(inner, output, positions, rank, columns, Part::Up);
    memref::DeallocOp::create(b, inner);
    sparse(input, output, positions);
    op.erase();
    return success();
  }

  void lower(kernel::RowEmbeddingOp op) {
    KernelBuilder k(b, strategy, "row_embedding");
    start(k);
    FlatBuffer ids = k.flatten(op.getIds()), output = k.flatten(op.getOutput());
    Value positions = dim(op.getOutput(), 0), width = dim(op.getOutput(), 1);
    forElements(k, positions, width, [&](Value entry, Value m, Value n) {
      Value id = arith::IndexCastOp::create(b, b.getIndexType(), k.load(ids, {m}));
      auto element = [&](Value first, Value row) {
        return k.load(numbers, {k.add(first, k.add(k.mul(row, width), n))});
      };
      Value whole = at(k, entry, kWhole), wholeRows = at(k, entry, kExtents + 2);
      Value takesWhole = k.both(exists(whole), k.less(id, wholeRows));
      k.when(
          takesWhole, [&] { k.store(element(whole, id), output, {m, n}); },
          [&] {
            Value rank = at(k, entry, kExtents), down = at(k, entry, kDown), up = at(k, entry, kUp);
            Value base = k.load(output, {m, n});
            auto sum = scf::ForOp::create(b, k.index(0), rank, k.index(1), base);
            {
              OpBuilder::InsertionGuard guard(b);
              b.setInsertionPointToStart(sum.getBody());
              Value r = sum.getInductionVar();
              Value factor = k.load(numbers, {k.add(down, k.add(k.mul(id, rank), r))});
              Value part = arith::MulFOp::create(b, factor, element(up, r));
              scf::YieldOp::create(b, arith::AddFOp::create(b, sum.getRegionIterArg(0), part).getResult());
            }
            k.store(sum.getResult(0), output, {m, n});
          });
      // Few rows are replaced: a scan over their indices.
      Value replaced = at(k, entry, kExtents + 1), indices = at(k, entry, kIndices);
      Value replacement = at(k, entry, kRows);
      k.loop(k.index(0), replaced, k.index(1), [&](Value j) {
        Value index = toIndex(k.load(table, {k.add(indices, j)}));
        Value equal = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, index, id);
        k.when(equal, [&] { k.store(element(replacement, j), output, {m, n}); });
      });
    });
    op.erase();
  }

  void lower(kernel::RowVectorsOp op) {
    {
      KernelBuilder k(b, strategy, "base_vectors");
      FlatBuffer base = k.flatten(op.getBase()), output = k.flatten(op.getOutput());
      Value width = dim(op.getOutput(), 1), count = k.mul(dim(op.getOutput(), 0), width);
      k.beginElements(count);
      k.forElements(count, [&](Value linear) {
        Value n = k.rem(linear, width);
        k.store(k.load(base, {n}), output, {k.div(linear, width), n});
      });
      k.finish();
    }
    KernelBuilder k(b, strategy, "row_vectors");
    start(k);
    FlatBuffer output = k.flatten(op.getOutput());
    Value positions = dim(op.getOutput(), 0), width = dim(op.getOutput(), 1);
    forElements(k, positions, width, [&](Value entry, Value m, Value n) {
      Value whole = at(k, entry, kWhole);
      k.when(exists(whole), [&] { k.store(k.load(numbers, {k.add(whole, n)}), output, {m, n}); });
    });
    op.erase();
  }

private:
  enum class Part { Whole, Down, Up };

  Value dim(Value memref, int64_t position) { return b.createOrFold<memref::DimOp>(memref, position); }
  Value toIndex(Value i32) { return arith::IndexCastOp::create(b, b.getIndexType(), i32); }
  Value exists(Value place) {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::sge, place, host.index(0));
  }
  Value at(KernelBuilder &k, Value entry, int64_t position) {
    return toIndex(k.load(table, {k.add(entry, k.index(position))}));
  }

  // The buffers of the bank, for one kernel.
  void start(KernelBuilder &k) {
    numbers = k.flatten(numbersBuffer);
    table = k.flatten(tableBuffer);
    entries = k.flatten(entriesBuffer);
  }

  // The most positions that a row has; there may be no rows. They divide the positions as evenly as they can.
  Value mostOfRow(Value positions) {
    return host.ceilDiv(positions, b.createOrFold<arith::MaxSIOp>(rows, host.index(1)));
  }

  // `count` where `condition` is not 0, else 0: a launch that has nothing to do.
  Value countIf(Value condition, Value count) {
    return host.mul(count, b.createOrFold<arith::MinSIOp>(condition, host.index(1)));
  }

  // In 64 bits: (x * y + plus) / z.
  Value scaled(Value x, Value y, int64_t plus, Value z) {
    Type i64 = b.getI64Type();
    auto wide = [&](Value index) -> Value { return arith::IndexCastOp::create(b, i64, index); };
    Value sum = arith::AddIOp::create(b, arith::MulIOp::create(b, wide(x), wide(y)),
                                      arith::ConstantOp::create(b, b.getI64IntegerAttr(plus)));
    return arith::IndexCastOp::create(b, b.getIndexType(), arith::DivUIOp::create(b, sum, wide(z)));
  }

  // The first position of a row, and the row of a position; see adapter_call_v1.
  Value firstOf(Value row, Value positions) { return scaled(row, positions, 0, rows); }
  Value rowOf(KernelBuilder &k, Value position, Value positions) {
    return scaled(k.add(position, k.index(1)), rows, -1, positions);
  }

  // The highest of the rows' extents; 0 where no row has an entry.
  Value highest(int64_t position) {
    Value none = host.index(0);
    auto loop = scf::ForOp::create(b, none, rows, host.index(1), none);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    Value entry = kernel::RowEntryOp::create(b, b.getIndexType(), loop.getInductionVar());
    Value active = arith::CmpIOp::create(b, arith::CmpIPredicate::sge, entry, none);
    auto rank = scf::IfOp::create(b, TypeRange{b.getIndexType()}, active, /*withElseRegion=*/true);
    {
      OpBuilder::InsertionGuard inner(b);
      b.setInsertionPointToStart(rank.thenBlock());
      Value number = kernel::BankOp::create(b, b.getIndexType(), bank);
      scf::YieldOp::create(
          b, kernel::EntryExtentOp::create(b, b.getIndexType(), entry, number, position).getResult());
      b.setInsertionPointToStart(rank.elseBlock());
      scf::YieldOp::create(b, none);
    }
    Value higher = arith::MaxSIOp::create(b, loop.getRegionIterArg(0), rank.getResult(0));
    scf::YieldOp::create(b, higher);
    return loop.getResult(0);
  }

  // Runs body(entry) where the row has an adapter.
  void withEntry(KernelBuilder &k, Value row, llvm::function_ref<void(Value)> body) {
    Value entry = toIndex(k.load(entries, {row}));
    k.when(exists(entry), [&] { body(k.mul(entry, k.index(kEntry))); });
  }

  // One thread for each element of [positions, width] in rows with an adapter.
  void forElements(KernelBuilder &k, Value positions, Value width,
                   llvm::function_ref<void(Value, Value, Value)> body) {
    Value count = countIf(rows, k.mul(positions, width));
    k.beginElements(count);
    k.forElements(count, [&](Value linear) {
      Value m = k.div(linear, width), n = k.rem(linear, width);
      withEntry(k, rowOf(k, m, positions), [&](Value entry) { body(entry, m, n); });
    });
    k.finish();
  }

  // A sum by the scale of its column, where there is one. The bias, which the sum has, is not scaled.
  Value timesScale(KernelBuilder &k, Value scale, Value column, Value sum,
                   llvm::function_ref<Value()> constant) {
    return valueIf(exists(scale), sum, [&]() -> Value {
      Value factor = k.load(numbers, {k.add(scale, column)});
      if (!bias)
        return arith::MulFOp::create(b, sum, factor);
      Value offset = constant();
      Value product = arith::MulFOp::create(b, arith::SubFOp::create(b, sum, offset), factor);
      return arith::AddFOp::create(b, product, offset);
    });
  }

  Value valueIf(Value condition, Value otherwise, llvm::function_ref<Value()> value) {
    auto choose = scf::IfOp::create(b, TypeRange{otherwise.getType()}, condition, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(choose.thenBlock());
    scf::YieldOp::create(b, value());
    b.setInsertionPointToStart(choose.elseBlock());
    scf::YieldOp::create(b, otherwise);
    return choose.getResult(0);
  }

  // One of the products of a row's update: the whole weight, which replaces the output, the way down to the
  // rank, or the way up, which is added to the output before its columns are scaled.
  void product(Value input, Value output, Value positions, Value depth, Value columns, Part part) {
    static constexpr StringLiteral names[] = {"row_linear_whole", "row_linear_down", "row_linear_up"};
    KernelBuilder k(b, strategy, names[static_cast<int>(part)]);
    ProductTile tile(k);
    start(k);
    FlatBuffer from = k.flatten(input), to = k.flatten(output);
    FlatBuffer biases = bias && part != Part::Down ? k.flatten(bias) : FlatBuffer();
    Value rowTiles = tile.rowTiles(mostOfRow(positions)), columnTiles = tile.columnTiles(columns);
    Value tiles = k.mul(rowTiles, columnTiles), count = k.mul(tiles, rows);
    if (part == Part::Whole)
      count = countIf(highest(1), count);
    k.begin(count, tile.threads(), tile.sharedSizes());
    k.forGroups(count, [&](Value number) {
      Value row = k.div(number, tiles), within = k.rem(number, tiles);
      withEntry(k, row, [&](Value entry) {
        Value weight = at(k, entry, part == Part::Whole ? kWhole : part == Part::Down ? kDown : kUp);
        Value rank = at(k, entry, kExtents);
        Value scale = part == Part::Up ? at(k, entry, kColumnScale) : Value();
        // Ranks are padded to the depth of a tile, all else to its columns.
        int64_t width = part == Part::Down ? strategy.tileDepth : strategy.tileColumns;
        Value first = firstOf(row, positions), block = k.index(width);
        ProductOperands operands;
        operands.rows = arith::SubIOp::create(b, firstOf(k.add(row, k.index(1)), positions), first);
        operands.depth = part == Part::Up ? rank : depth;
        operands.columns = part == Part::Down ? rank : columns;
        operands.paddedColumns = part != Part::Down;
        operands.left = [&](Value m, Value depth) { return k.load(from, {k.add(first, m), depth}); };
        operands.right = [&](Value depth, Value column) {
          Value panel = k.mul(k.div(column, block), operands.depth);
          Value place = k.add(k.mul(k.add(panel, depth), block), k.rem(column, block));
          return k.load(numbers, {k.add(weight, place)});
        };
        operands.store = [&](Value m, Value column, Value sum) {
          SmallVector<Value> place{k.add(first, m), column};
          auto constant = [&] { return k.load(biases, {column}); };
          if (part == Part::Up)
            sum = timesScale(k, scale, column, arith::AddFOp::create(b, sum, k.load(to, place)), constant);
          else if (part == Part::Whole && bias)
            sum = arith::AddFOp::create(b, sum, constant());
          k.store(sum, to, place);
        };
        Value rowTile = k.rem(within, rowTiles), columnTile = k.div(within, rowTiles);
        auto emitTile = [&] { tile.emit(operands, rowTile, columnTile); };
        if (part == Part::Whole)
          k.when(exists(weight), emitTile);
        else if (part == Part::Down)
          k.when(k.less(k.mul(columnTile, k.index(strategy.tileColumns)), rank), emitTile);
        else
          emitTile();
      });
    });
    k.finish();
  }

  // Adds the changed elements of the weight, position by position.
  void sparse(Value input, Value output, Value positions) {
    KernelBuilder k(b, strategy, "row_linear_sparse");
    start(k);
    FlatBuffer from = k.flatten(input), to = k.flatten(output);
    Value count = countIf(highest(3), positions);
    k.beginElements(count);
    k.forElements(count, [&](Value m) {
      withEntry(k, rowOf(k, m, positions), [&](Value entry) {
        Value places = at(k, entry, kPlaces), added = at(k, entry, kAdded),
              changed = at(k, entry, kExtents + 3);
        k.loop(k.index(0), changed, k.index(1), [&](Value j) {
          Value in = toIndex(k.load(table, {k.add(places, j)}));
          Value out = toIndex(k.load(table, {k.add(places, k.add(changed, j))}));
          Value product = arith::MulFOp::create(b, k.load(from, {m, in}), k.load(numbers, {k.add(added, j)}));
          k.store(arith::AddFOp::create(b, k.load(to, {m, out}), product), to, {m, out});
        });
      });
    });
    k.finish();
  }

  ImplicitLocOpBuilder b;
  const DeviceStrategy &strategy;
  int64_t bank;
  KernelBuilder host; // for arithmetic alone
  Value numbersBuffer, tableBuffer, entriesBuffer, rows;
  Value bias; // of a linear, if it has one
  FlatBuffer numbers, table, entries;
};
} // namespace

LogicalResult adapter::lowerRowUpdateToKernels(Operation *op, const DeviceStrategy &strategy) {
  if (auto linear = dyn_cast<kernel::RowLinearOp>(op))
    return RowKernels(op, linear.getBank(), strategy).lower(linear);
  if (auto embedding = dyn_cast<kernel::RowEmbeddingOp>(op))
    RowKernels(op, embedding.getBank(), strategy).lower(embedding);
  else
    RowKernels(op, cast<kernel::RowVectorsOp>(op).getBank(), strategy).lower(cast<kernel::RowVectorsOp>(op));
  return success();
}
