// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See PairRows.h.
#include "lib/Codegen/PairRows.h"
#include "lib/Codegen/IntegerRows.h"
#include "lib/Codegen/LoopEmitter.h"
#include "lib/Codegen/SharedFunction.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace adapter;

Value adapter::roundedToBF16(ImplicitLocOpBuilder &b, Value numbers) {
  int64_t lanes = cast<VectorType>(numbers.getType()).getDimSize(0);
  auto constant = [&](int64_t value) { return spreadInteger(b, lanes, value); };
  Value bits = arith::BitcastOp::create(b, VectorType::get(lanes, b.getI32Type()), numbers);
  Value odd = arith::AndIOp::create(b, arith::ShRUIOp::create(b, bits, constant(16)), constant(1));
  Value rounded = arith::AddIOp::create(b, bits, arith::AddIOp::create(b, odd, constant(0x7fff)));
  Value isNaN = arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, numbers, numbers);
  return arith::SelectOp::create(b, isNaN, arith::OrIOp::create(b, bits, constant(1 << 22)), rounded);
}

MemRefType adapter::pairRowsType(Builder &b, bool asPairs) {
  int64_t any = ShapedType::kDynamic;
  return MemRefType::get({any, any}, asPairs ? Type(b.getI32Type()) : Type(b.getF32Type()));
}

func::FuncOp adapter::makePairRows(ModuleOp module, int64_t lanes, bool asPairs) {
  ImplicitLocOpBuilder b(module.getLoc(), module.getContext());
  b.setInsertionPointToEnd(module.getBody());
  Type index = b.getIndexType();
  func::FuncOp function =
      startSharedFunction(b, asPairs ? "kernel.round_rows_pairs" : "kernel.round_rows_bf16",
                          {stridedMatrixType(b), pairRowsType(b, asPairs), index, index});
  LoopEmitter loops{b};
  Value matrix = function.getArgument(0), rows = function.getArgument(1);
  Value columns = loops.dim(matrix, 1), width = loops.dim(rows, 1);
  int64_t stored = asPairs ? lanes / 2 : lanes; // elements of a row that one vector becomes
  auto floats = VectorType::get(lanes, b.getF32Type());
  auto maskOf = [&](int64_t count, Value left) -> Value {
    // Beyond the end nothing is touched, wherever that would be.
    left = arith::MaxSIOp::create(b, left, loops.index(0));
    return vector::CreateMaskOp::create(b, VectorType::get(count, b.getI1Type()), ValueRange{left});
  };
  auto roundVector = [&](Value row, Value part) {
    Value at = arith::MulIOp::create(b, part, loops.index(lanes));
    Value to = arith::MulIOp::create(b, part, loops.index(stored));
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(floats));
    Value read = vector::MaskedLoadOp::create(b, floats, matrix, ValueRange{row, at},
                                              maskOf(lanes, arith::SubIOp::create(b, columns, at)), zero);
    Value bits = roundedToBF16(b, read), made;
    if (asPairs) {
      Value high = arith::ShRUIOp::create(b, bits, spreadInteger(b, lanes, 16));
      Value halves = arith::TruncIOp::create(b, VectorType::get(lanes, b.getI16Type()), high);
      made = vector::BitCastOp::create(b, VectorType::get(stored, b.getI32Type()), halves);
    } else {
      Value high = arith::AndIOp::create(b, bits, spreadInteger(b, lanes, 0xffff0000));
      made = arith::BitcastOp::create(b, floats, high);
    }
    vector::MaskedStoreOp::create(b, rows, ValueRange{row, to},
                                  maskOf(stored, arith::SubIOp::create(b, width, to)), made);
  };
  Value parts = arith::CeilDivUIOp::create(b, width, loops.index(stored));
  loops.loop(function.getArgument(2), function.getArgument(3), [&](Value row) {
    loops.loop(loops.index(0), parts, [&](Value part) { roundVector(row, part); });
  });
  func::ReturnOp::create(b);
  return function;
}

Value adapter::emitPairDot(ImplicitLocOpBuilder &b, Value sum, Value pairs, Value otherPairs) {
  auto type = cast<VectorType>(sum.getType());
  auto halves = VectorType::get(2 * type.getDimSize(0), b.getBF16Type());
  SmallVector<Value> operands{sum, vector::BitCastOp::create(b, halves, pairs),
                              vector::BitCastOp::create(b, halves, otherPairs)};
  StringAttr name =
      b.getStringAttr("llvm.x86.avx512bf16.dpbf16ps." + std::to_string(32 * type.getDimSize(0)));
  return LLVM::CallIntrinsicOp::create(b, type, name, operands).getResults();
}
