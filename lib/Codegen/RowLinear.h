// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// kernel.row_linear on buffers: what LowerRowLinear.cpp, RowLinearBlock.cpp and RowLinearSteps.cpp share.
#ifndef ADAPTER_LIB_CODEGEN_ROWLINEAR_H
#define ADAPTER_LIB_CODEGEN_ROWLINEAR_H

#include "lib/Codegen/EntryTensors.h"
#include "lib/Codegen/LoopEmitter.h"
#include "lib/Codegen/RowEmitter.h"
#include "lib/Codegen/RowSurvey.h"
#include "lib/Codegen/TileFunction.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace adapter::rows {

/// Positions [begin, end) that have the assignments [first, first + count).
struct Span {
  mlir::Value begin, end, first, count;
};

/// Lowers one kernel.row_linear on buffers.
class RowLinearLowering {
public:
  RowLinearLowering(kernel::RowLinearOp op, TileFunctions &tiles)
      : b(op.getLoc(), op), emit(b, op.getBank()), loops{b}, op(op), tiles(tiles) {}
  /// A part of one, with a bank that comes as an argument.
  RowLinearLowering(const mlir::ImplicitLocOpBuilder &builder, mlir::Value bank, TileFunctions &tiles)
      : b(builder), emit(b, bank), loops{b}, tiles(tiles) {}
  void lower();

private:
  static constexpr int64_t any = mlir::ShapedType::kDynamic;

  void lowerWithSegments();
  void multiplyDown();
  void multiplyBase(mlir::Value block, mlir::Value begin, mlir::Value end);
  void addUpdates(mlir::Value block, mlir::Value begin, mlir::Value end);
  void addAssignment(mlir::Value block, const Span &span, const Span &done, mlir::Value plain,
                     mlir::Value number, mlir::Value firstColumn);
  void copyBase(mlir::Value block, const Span &span);
  void addShare(mlir::Value share, mlir::Value block, const Span &span);
  void addSparse(const Span &span, mlir::Value number);

  mlir::Value hasStepsBefore(mlir::Value entry);
  void rotateRows();
  void finishRows();
  llvm::SmallVector<mlir::Value *> state();
  void callPart(llvm::StringRef name, void (RowLinearLowering::*write)());
  void runSteps(mlir::Value entry, mlir::Value first, mlir::Value last, mlir::Value result, const Span &span);
  void copyRows(mlir::Value from, mlir::Value to, mlir::Value begin, mlir::Value end);
  void forBlocks(llvm::function_ref<void(mlir::Value)> body);
  void shiftByBias(mlir::Value of, const Span &span, bool isTakenAway);
  void finish(mlir::Value entry, mlir::Value of, const Span &span);
  void addBeside(const Span &span, mlir::Value number, mlir::Value firstColumn);

  Span spanAt(mlir::Value row);
  Span within(mlir::Value segment, mlir::Value begin, mlir::Value end);
  Span together(const Span &span, mlir::Value begin, mlir::Value block);
  mlir::Value isSome(const Span &span) {
    return mlir::arith::CmpIOp::create(b, mlir::arith::CmpIPredicate::ult, span.begin, span.end);
  }
  mlir::Value countIf(mlir::Value condition, mlir::Value count) {
    return mlir::arith::SelectOp::create(b, condition, count, index(b, 0));
  }
  mlir::Value matrix(mlir::Value rows, mlir::Value columns) {
    return mlir::memref::AllocOp::create(b, mlir::MemRefType::get({any, any}, b.getF32Type()),
                                         mlir::ValueRange{rows, columns});
  }
  mlir::Value innerColumns(mlir::Value first, mlir::Value count);
  void multiply(TileStart start, mlir::Value from, mlir::Value with, mlir::Value to, mlir::Value block,
                const Span &span) {
    tiles.call(b, start, from, with, start == TileStart::Bias ? bias : mlir::Value(), to, block, span.begin,
               span.end);
  }
  /// The same with the base's weight.
  void multiplyPristine(TileStart start, mlir::Value from, mlir::Value to, mlir::Value block,
                        const Span &span) {
    tiles.call(b, start, rounded ? rounded.words : from, pristine,
               start == TileStart::Bias ? bias : mlir::Value(), to, block, span.begin, span.end, format,
               rounded.scales);
  }
  void multiplyRotated(mlir::Value entry, mlir::Value plain, mlir::Value block, const Span &span);
  void multiplyWhole(mlir::Value entry, mlir::Value to, mlir::Value block, const Span &span);
  mlir::Value upOf(mlir::Value entry, mlir::Value rank) {
    return emit.tensor(entry, kUp, {any, any, tiles.getBlock()}, {blocks, rank});
  }
  void addFactors(mlir::Value entry, mlir::Value firstColumn, mlir::Value to, mlir::Value block,
                  const Span &span);
  void scaleColumns(mlir::Value entry, mlir::Value of, mlir::Value block, const Span &span);
  void forVectors(mlir::Value block, const Span &span,
                  llvm::function_ref<void(mlir::ValueRange, mlir::Value)> body);
  mlir::Value load(mlir::Value from, mlir::ValueRange at, mlir::Value mask);
  void store(mlir::Value value, mlir::Value to, mlir::ValueRange at, mlir::Value mask) {
    mlir::vector::MaskedStoreOp::create(b, to, at, mask, value);
  }

  mlir::ImplicitLocOpBuilder b;
  RowEmitter emit;
  LoopEmitter loops;
  kernel::RowLinearOp op;
  TileFunctions &tiles;
  mlir::Value input, weight, bias, output, positions, depth, columns, blocks;
  kernel::FormatAttr format; ///< of the weight; null: f32
  bool mayEnd = false;       ///< whether K ends within the weight's last group
  IntegerRows
      rounded; ///< what the base's product reads, where its weight does not take rows of f32 as they are
  mlir::Value pristine; ///< the weight, even where the base's product is none of the op's
  mlir::Value table, inner, base, own;
  mlir::Value
      source; ///< what the base's product reads: `rotated`, where steps come before it, else the input
  mlir::Value rotated, temporaries;
  RowSurvey survey;
};

} // namespace adapter::rows

#endif // ADAPTER_LIB_CODEGEN_ROWLINEAR_H
