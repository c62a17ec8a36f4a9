// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// kernel.repack and kernel.dequantize: integers that other tools rounded, put where products read them, and as numbers.
// Both run once, when an artifact is made, and go element by element.
#include "lib/Codegen/LoopEmitter.h"
#include "lib/Codegen/LowerFormats.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace adapter;
using kernel::NumberFormat;

namespace {
// Reads the operands of either op.
class CodeReader {
public:
  CodeReader(ImplicitLocOpBuilder &b, kernel::FormatAttr format, Value codes, Value scales, Value zeros,
             int64_t block)
      : b(b), loops{b}, format(format), codes(codes), scales(scales), zeros(zeros), block(block) {}

  /// The code of row r at column c, i32. Beyond the last byte it is one of that.
  Value code(Value r, Value c) {
    bool isHalf = format.getNumber() == NumberFormat::Int4;
    Value last = arith::SubIOp::create(b, loops.dim(codes, 1), loops.index(1));
    Value byte = isHalf ? Value(arith::DivUIOp::create(b, c, loops.index(2))) : c;
    byte = loops.load(codes, {r, arith::MinUIOp::create(b, byte, last)});
    Value whole = arith::ExtUIOp::create(b, b.getI32Type(), byte);
    if (!isHalf)
      return whole;
    Value part = arith::RemUIOp::create(b, c, loops.index(2));
    Value shift =
        arith::IndexCastOp::create(b, b.getI32Type(), arith::MulIOp::create(b, part, loops.index(4)));
    return arith::AndIOp::create(b, arith::ShRUIOp::create(b, whole, shift), word(15));
  }
  /// Of what column c belongs to.
  Value scale(Value r, Value c) { return loops.load(scales, {r, blockOf(c)}); }
  Value zero(Value r, Value c) {
    if (zeros)
      return loops.load(zeros, {r, blockOf(c)});
    return arith::ConstantOp::create(b, b.getF32FloatAttr(static_cast<float>(format.offset())));
  }
  Value number(Value r, Value c) {
    Value whole = arith::SIToFPOp::create(b, b.getF32Type(), code(r, c));
    return arith::MulFOp::create(b, arith::SubFOp::create(b, whole, zero(r, c)), scale(r, c));
  }
  Value word(int64_t value) {
    return arith::ConstantOp::create(b, b.getI32IntegerAttr(static_cast<int32_t>(value)));
  }

private:
  Value blockOf(Value c) { return arith::DivUIOp::create(b, c, loops.index(block)); }

  ImplicitLocOpBuilder &b;
  LoopEmitter loops;
  kernel::FormatAttr format;
  Value codes, scales, zeros;
  int64_t block;
};

// Writes one column of a panel.
class ColumnWriter {
public:
  ColumnWriter(ImplicitLocOpBuilder &b, kernel::RepackOp op, CodeReader &reader, Value block, Value column)
      : b(b), loops{b}, reader(reader), format(op.getFormat()), output(op.getOutput()), block(block),
        column(column), columns(cast<ShapedType>(output.getType()).getDimSize(2) / format.bytes(1)) {}

  /// A group of the column from row r of the codes; without one, what adds nothing to a product.
  void write(Value r, Value group) {
    Value first = arith::MulIOp::create(b, group, loops.index(format.steps()));
    Value none = arith::ConstantOp::create(b, b.getF32FloatAttr(0));
    store(narrow(r ? reader.scale(r, first) : none), group, loops.index(0), format.scaleSize());
    if (format.getZeros())
      store(narrow(r ? reader.zero(r, first) : none), group, loops.index(format.scaleSize() * columns),
            format.scaleSize());
    loops.loop(loops.index(0), loops.index(format.words()), [&](Value word) {
      Value from = loops.add(first, arith::MulIOp::create(b, word, loops.index(format.stepsInWord())));
      Value row = arith::MulIOp::create(b, word, loops.index(4 * columns));
      store(r ? wordOf(r, from) : reader.word(0), group,
            loops.add(row, loops.index(format.scaleBytes(columns))), 4);
    });
  }

private:
  Value narrow(Value x) {
    return format.getWideScales() ? x : Value(arith::TruncFOp::create(b, b.getF16Type(), x));
  }

  Value wordOf(Value r, Value from) {
    Value made = reader.word(0);
    for (int64_t step = 0; step < format.stepsInWord(); ++step) {
      bool isHalf = format.getNumber() == NumberFormat::Int4;
      int64_t shift = !isHalf || step < 4 ? 8 * step : 8 * (step - 4) + 4;
      Value code = reader.code(r, loops.add(from, loops.index(step)));
      made = arith::OrIOp::create(b, made, arith::ShLIOp::create(b, code, reader.word(shift)));
    }
    return made;
  }

  // At `begin` within the group's bytes, plus `size` for each column before.
  void store(Value value, Value group, Value begin, int64_t size) {
    Value at = loops.add(begin, arith::MulIOp::create(b, column, loops.index(size)));
    Value one = vector::BroadcastOp::create(b, VectorType::get(1, value.getType()), value);
    Value bytes = vector::BitCastOp::create(b, VectorType::get(size, b.getI8Type()), one);
    vector::StoreOp::create(b, bytes, output, ValueRange{block, group, at});
  }

  ImplicitLocOpBuilder &b;
  LoopEmitter loops;
  CodeReader &reader;
  kernel::FormatAttr format;
  Value output, block, column;
  int64_t columns;
};
} // namespace

void adapter::lowerRepack(kernel::RepackOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  LoopEmitter loops{b};
  kernel::FormatAttr format = op.getFormat();
  CodeReader reader(b, format, op.getCodes(), op.getScales(), op.getZeros(), op.getBlock());
  Value rows = loops.dim(op.getCodes(), 0), groups = loops.dim(op.getOutput(), 1);
  int64_t width = cast<ShapedType>(op.getOutput().getType()).getDimSize(2) / format.bytes(1);
  loops.parallel(loops.dim(op.getOutput(), 0), 1, [&](Value block) {
    loops.loop(loops.index(0), loops.index(width), [&](Value column) {
      Value row = loops.add(arith::MulIOp::create(b, block, loops.index(width)), column);
      Value isThere = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, row, rows);
      ColumnWriter writer(b, op, reader, block, column);
      auto branch = scf::IfOp::create(b, isThere, /*withElse=*/true);
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(branch.thenBlock());
      loops.loop(loops.index(0), groups, [&](Value group) { writer.write(row, group); });
      b.setInsertionPointToStart(branch.elseBlock());
      loops.loop(loops.index(0), groups, [&](Value group) { writer.write(Value(), group); });
    });
  });
  op.erase();
}

void adapter::lowerDequantize(kernel::DequantizeOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  LoopEmitter loops{b};
  CodeReader reader(b, op.getFormat(), op.getCodes(), op.getScales(), op.getZeros(), op.getBlock());
  loops.parallel(loops.dim(op.getOutput(), 0), 1, [&](Value first) {
    loops.loop(loops.index(0), loops.dim(op.getOutput(), 1), [&](Value second) {
      bool turned = op.getTransposed();
      Value number = reader.number(turned ? second : first, turned ? first : second);
      loops.store(number, op.getOutput(), {first, second});
    });
  });
  op.erase();
}
