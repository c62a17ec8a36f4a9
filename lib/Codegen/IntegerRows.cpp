// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See IntegerRows.h.
#include "lib/Codegen/IntegerRows.h"
#include "lib/Codegen/LoopEmitter.h"
#include "lib/Codegen/SharedFunction.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace adapter;

static MemRefType matrixOf(Type element) {
  return MemRefType::get({ShapedType::kDynamic, ShapedType::kDynamic}, element);
}

MemRefType adapter::integerRowsType(Builder &b) { return matrixOf(b.getI32Type()); }
MemRefType adapter::integerScalesType(Builder &b) { return matrixOf(b.getF32Type()); }

namespace {
// Rounds one block of one row.
class BlockRounding {
public:
  BlockRounding(ImplicitLocOpBuilder &b, int64_t lanes, int64_t offset, bool mayEnd)
      : b(b), loops{b}, lanes(lanes), offset(offset), mayEnd(mayEnd) {}

  void round(Value matrix, Value words, Value scales, Value row, Value block) {
    Value first = arith::MulIOp::create(b, block, loops.index(integerBlock));
    SmallVector<Value> parts;
    Value largest;
    for (int64_t part = 0; part < integerBlock; part += lanes) {
      Value at = loops.add(first, loops.index(part));
      parts.push_back(load(matrix, row, at));
      Value magnitude = math::AbsFOp::create(b, parts.back());
      largest = largest ? Value(arith::MaximumFOp::create(b, largest, magnitude)) : magnitude;
    }
    Value extreme = vector::ReductionOp::create(b, vector::CombiningKind::MAXIMUMF, largest);
    Value scale = arith::DivFOp::create(b, extreme, number(127));
    Value isZero = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, extreme, number(0));
    Value inverse = arith::DivFOp::create(b, number(127), extreme);
    inverse = arith::SelectOp::create(b, isZero, number(0), inverse);
    Value sum;
    for (auto [i, part] : llvm::enumerate(parts)) {
      Value whole = integersOf(part, inverse);
      sum = sum ? Value(arith::AddIOp::create(b, sum, whole)) : whole;
      Value bytes = arith::TruncIOp::create(b, VectorType::get(lanes, b.getI8Type()), whole);
      Value fours = vector::BitCastOp::create(b, VectorType::get(lanes / 4, b.getI32Type()), bytes);
      Value at = arith::MulIOp::create(b, block, loops.index(integerBlock / 4));
      vector::StoreOp::create(b, fours, words, ValueRange{row, loops.add(at, loops.index(i * lanes / 4))});
    }
    Value total = vector::ReductionOp::create(b, vector::CombiningKind::ADD, sum);
    Value shift =
        arith::MulFOp::create(b, arith::SIToFPOp::create(b, b.getF32Type(), total), number(-offset));
    Value place = arith::MulIOp::create(b, block, loops.index(2));
    loops.store(scale, scales, {row, place});
    loops.store(arith::MulFOp::create(b, shift, scale), scales, {row, loops.add(place, loops.index(1))});
  }

private:
  VectorType floats() { return VectorType::get(lanes, b.getF32Type()); }
  Value number(double value) { return arith::ConstantOp::create(b, b.getF32FloatAttr(value)); }
  Value spread(Value scalar) { return vector::BroadcastOp::create(b, floats(), scalar); }

  Value load(Value matrix, Value row, Value at) {
    if (!mayEnd)
      return vector::LoadOp::create(b, floats(), matrix, ValueRange{row, at});
    // Beyond the end nothing is read, wherever that would be.
    Value left = arith::SubIOp::create(b, loops.dim(matrix, 1), at), none = loops.index(0);
    Value mask = vector::CreateMaskOp::create(b, VectorType::get(lanes, b.getI1Type()),
                                              ValueRange{arith::MaxSIOp::create(b, left, none)});
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(floats()));
    return vector::MaskedLoadOp::create(b, floats(), matrix, ValueRange{row, at}, mask, zero);
  }

  // What is not finite has no integer; its scale says so.
  Value integersOf(Value part, Value inverse) {
    Value whole = math::RoundEvenOp::create(b, arith::MulFOp::create(b, part, spread(inverse)));
    whole = arith::MinNumFOp::create(b, arith::MaxNumFOp::create(b, whole, spread(number(-127))),
                                     spread(number(127)));
    return arith::FPToSIOp::create(b, VectorType::get(lanes, b.getI32Type()), whole);
  }

  ImplicitLocOpBuilder &b;
  LoopEmitter loops;
  int64_t lanes, offset;
  bool mayEnd;
};
} // namespace

func::FuncOp adapter::makeRoundRows(ModuleOp module, int64_t lanes, int64_t offset, bool mayEnd) {
  ImplicitLocOpBuilder b(module.getLoc(), module.getContext());
  b.setInsertionPointToEnd(module.getBody());
  Type index = b.getIndexType();
  func::FuncOp function =
      startSharedFunction(b, "kernel.round_rows_" + std::to_string(offset) + (mayEnd ? "_end" : ""),
                          {stridedMatrixType(b), integerRowsType(b), integerScalesType(b), index, index});
  LoopEmitter loops{b};
  Value matrix = function.getArgument(0);
  Value blocks =
      arith::DivUIOp::create(b, loops.dim(function.getArgument(1), 1), loops.index(integerBlock / 4));
  loops.loop(function.getArgument(3), function.getArgument(4), [&](Value row) {
    loops.loop(loops.index(0), blocks, [&](Value block) {
      BlockRounding(b, lanes, offset, mayEnd)
          .round(matrix, function.getArgument(1), function.getArgument(2), row, block);
    });
  });
  func::ReturnOp::create(b);
  return function;
}

Value adapter::spreadInteger(ImplicitLocOpBuilder &b, int64_t lanes, int64_t value) {
  auto type = VectorType::get(lanes, b.getI32Type());
  return arith::ConstantOp::create(
      b, DenseElementsAttr::get(type, b.getI32IntegerAttr(static_cast<int32_t>(value))));
}

static Value portableDot(ImplicitLocOpBuilder &b, Value sum, Value unsignedBytes, Value signedBytes) {
  int64_t lanes = cast<VectorType>(sum.getType()).getDimSize(0);
  auto constant = [&](int64_t value) { return spreadInteger(b, lanes, value); };
  for (int64_t place = 0; place < 4; ++place) {
    Value low = place ? Value(arith::ShRUIOp::create(b, unsignedBytes, constant(8 * place))) : unsignedBytes;
    Value x = arith::AndIOp::create(b, low, constant(255));
    Value top =
        place < 3 ? Value(arith::ShLIOp::create(b, signedBytes, constant(24 - 8 * place))) : signedBytes;
    Value y = arith::ShRSIOp::create(b, top, constant(24));
    sum = arith::AddIOp::create(b, sum, arith::MulIOp::create(b, x, y));
  }
  return sum;
}

Value adapter::emitDot(ImplicitLocOpBuilder &b, IntegerDot dot, Value sum, Value unsignedBytes,
                       Value signedBytes) {
  if (dot == IntegerDot::Portable)
    return portableDot(b, sum, unsignedBytes, signedBytes);
  auto type = cast<VectorType>(sum.getType());
  int64_t bits = 32 * type.getDimSize(0);
  auto bytes = VectorType::get(bits / 8, b.getI8Type());
  SmallVector<Value> operands{sum, vector::BitCastOp::create(b, bytes, unsignedBytes),
                              vector::BitCastOp::create(b, bytes, signedBytes)};
  StringAttr name = b.getStringAttr("llvm.x86.avx512.vpdpbusd." + std::to_string(bits));
  return LLVM::CallIntrinsicOp::create(b, type, name, operands).getResults();
}
