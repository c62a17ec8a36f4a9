// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// kernel.encode and kernel.decode; see #kernel.format. Rounding is that of integers and of f16, which all machines have
// alike.
#include "lib/Codegen/LowerFormats.h"
#include "lib/Codegen/IntegerRows.h"
#include "lib/Codegen/LoopEmitter.h"
#include "lib/Codegen/PairRows.h"
#include "lib/Codegen/WeightFormat.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace adapter;
using kernel::NumberFormat;

namespace {
// Writes one group of some columns of a panel.
class GroupEncoder {
public:
  GroupEncoder(ImplicitLocOpBuilder &b, kernel::EncodeOp op, int64_t lanes, Value block, Value group)
      : b(b), loops{b}, format(op.getFormat()), source(op.getSource()), output(op.getOutput()), lanes(lanes),
        block(block), group(group), columns(cast<ShapedType>(source.getType()).getDimSize(2)) {
    first = arith::MulIOp::create(b, group, loops.index(format.steps()));
  }

  void encode(int64_t column) {
    Value scale;
    if (format.isInteger()) {
      scale = scaleOf(column);
      store(arith::TruncFOp::create(b, vector(b.getF16Type()), scale), loops.index(2 * column));
    }
    loops.loop(loops.index(0), loops.index(format.words()), [&](Value word) {
      Value from = loops.add(first, arith::MulIOp::create(b, word, loops.index(format.stepsInWord())));
      Value made = integers(0);
      for (int64_t step = 0; step < format.stepsInWord(); ++step)
        made = arith::OrIOp::create(b, made,
                                    placed(load(loops.add(from, loops.index(step)), column), step, scale));
      Value row = arith::MulIOp::create(b, word, loops.index(4 * columns));
      store(made, loops.add(row, loops.index(format.scaleBytes(columns) + 4 * column)));
    });
  }

private:
  VectorType vector(Type element) { return VectorType::get(lanes, element); }
  Value integers(int64_t value) { return spreadInteger(b, lanes, value); }
  Value floats(double value) {
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(vector(b.getF32Type()), b.getF32FloatAttr(value)));
  }
  Value load(Value k, int64_t column) {
    return vector::LoadOp::create(b, vector(b.getF32Type()), source,
                                  ValueRange{block, k, loops.index(column)});
  }
  void store(Value value, Value byte) {
    int64_t bytes = lanes * cast<VectorType>(value.getType()).getElementTypeBitWidth() / 8;
    Value flat = vector::BitCastOp::create(b, VectorType::get(bytes, b.getI8Type()), value);
    vector::StoreOp::create(b, flat, output, ValueRange{block, group, byte});
  }

  // As f16 has it.
  Value scaleOf(int64_t column) {
    Value end = loops.add(first, loops.index(format.steps()));
    Value none = floats(0);
    auto largest = scf::ForOp::create(b, first, end, loops.index(1), ValueRange{none});
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(largest.getBody());
      Value x = load(largest.getInductionVar(), column), best = largest.getRegionIterArgs()[0];
      Value isLarger = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, math::AbsFOp::create(b, x),
                                             math::AbsFOp::create(b, best));
      Value next = arith::SelectOp::create(b, isLarger, x, best);
      scf::YieldOp::create(b, next);
    }
    Value extreme = largest.getResult(0);
    Value scale = format.getNumber() == NumberFormat::Int4
                      ? Value(arith::DivFOp::create(b, extreme, floats(-8)))
                      : Value(arith::DivFOp::create(b, math::AbsFOp::create(b, extreme), floats(127)));
    Value narrow = arith::TruncFOp::create(b, vector(b.getF16Type()), scale);
    return arith::ExtFOp::create(b, vector(b.getF32Type()), narrow);
  }

  Value bf16Of(Value x) { return arith::ShRUIOp::create(b, roundedToBF16(b, x), integers(16)); }

  Value f16Of(Value x) {
    Value narrow = arith::TruncFOp::create(b, vector(b.getF16Type()), x);
    return arith::ExtUIOp::create(b, vector(b.getI32Type()),
                                  arith::BitcastOp::create(b, vector(b.getI16Type()), narrow));
  }

  Value integerOf(Value x, Value scale) {
    int64_t least = format.getNumber() == NumberFormat::Int4 ? -8 : -127, most = -least - (least == -8);
    Value quotient = math::RoundEvenOp::create(b, arith::DivFOp::create(b, x, scale));
    Value isNone = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, scale, floats(0));
    quotient = arith::SelectOp::create(b, isNone, floats(0), quotient);
    quotient =
        arith::MinNumFOp::create(b, arith::MaxNumFOp::create(b, quotient, floats(least)), floats(most));
    Value whole = arith::FPToSIOp::create(b, vector(b.getI32Type()), quotient);
    return arith::AddIOp::create(b, whole, integers(format.offset()));
  }

  // A number at its place in a word.
  Value placed(Value x, int64_t step, Value scale) {
    int64_t shift = 16 * step;
    Value bits;
    switch (format.getNumber()) {
    case NumberFormat::BF16:
      bits = bf16Of(x);
      break;
    case NumberFormat::F16:
      bits = f16Of(x);
      break;
    case NumberFormat::Int8:
      bits = integerOf(x, scale);
      shift = 8 * step;
      break;
    case NumberFormat::Int4:
      bits = integerOf(x, scale);
      shift = step < 4 ? 8 * step : 8 * (step - 4) + 4;
      break;
    }
    return shift ? Value(arith::ShLIOp::create(b, bits, integers(shift))) : bits;
  }

  ImplicitLocOpBuilder &b;
  LoopEmitter loops;
  kernel::FormatAttr format;
  Value source, output;
  int64_t lanes;
  Value block, group, first;
  int64_t columns;
};
} // namespace

void adapter::lowerEncode(kernel::EncodeOp op, int64_t lanes) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  LoopEmitter loops{b};
  int64_t columns = cast<ShapedType>(op.getSource().getType()).getDimSize(2);
  loops.parallel(loops.dim(op.getOutput(), 0), 1, [&](Value block) {
    loops.loop(loops.index(0), loops.dim(op.getOutput(), 1), [&](Value group) {
      GroupEncoder encoder(b, op, lanes, block, group);
      for (int64_t column = 0; column < columns; column += lanes)
        encoder.encode(column);
    });
  });
  op.erase();
}

void adapter::lowerDecode(kernel::DecodeOp op, int64_t lanes) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  LoopEmitter loops{b};
  kernel::FormatAttr format = op.getFormat();
  Value source = op.getSource(), output = op.getOutput();
  int64_t vectors = cast<ShapedType>(output.getType()).getDimSize(2) / lanes;
  Value depth = loops.dim(output, 1);
  // Where K is known it may end within a group.
  bool mayEnd = !cast<ShapedType>(output.getType()).isDynamicDim(1);
  loops.parallel(loops.dim(source, 0), 1, [&](Value block) {
    auto storeRow = [&](Value k, ValueRange numbers) {
      OpBuilder::InsertionGuard guard(b);
      if (mayEnd) {
        Value isThere = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, k, depth);
        b.setInsertionPointToStart(scf::IfOp::create(b, isThere, /*withElse=*/false).thenBlock());
      }
      for (auto [part, number] : llvm::enumerate(numbers))
        vector::StoreOp::create(b, number, output, ValueRange{block, k, loops.index(part * lanes)});
    };
    loops.loop(loops.index(0), loops.dim(source, 1), [&](Value group) {
      WeightReader reader{b, format, lanes, vectors, source, block};
      SmallVector<Value> scales = reader.scales(group), zeros = reader.zeros(group);
      loops.loop(loops.index(0), loops.index(format.words()), [&](Value word) {
        SmallVector<Value> words = reader.words(group, word);
        Value k = arith::MulIOp::create(b, group, loops.index(format.steps()));
        k = loops.add(k, arith::MulIOp::create(b, word, loops.index(format.stepsInWord())));
        for (int64_t step = 0; step < format.stepsInWord(); ++step)
          storeRow(loops.add(k, loops.index(step)), reader.numbers(words, step, scales, zeros));
      });
    });
  });
  op.erase();
}
