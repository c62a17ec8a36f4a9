// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What functions of TileFunction.h consist of.
#ifndef ADAPTER_LIB_CODEGEN_REGISTERTILE_H
#define ADAPTER_LIB_CODEGEN_REGISTERTILE_H

#include "lib/Codegen/IntegerRows.h"
#include "lib/Codegen/TileFunction.h"
#include "lib/Codegen/WeightFormat.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

namespace adapter {

/// Emits register tiles of one column block.
class RegisterTile {
public:
  mlir::ImplicitLocOpBuilder &b;
  int64_t lanes;
  int64_t vectors; ///< of the variant that is being emitted
  bool partial;    ///< whether its last vector may hang over the output's columns
  TileStart start;
  mlir::Value input, weight, bias, output, block, column, valid;
  /// Of a second product that is added to each tile, if there is one.
  mlir::Value inner, up;
  /// A matrix like the output, added to each sum before it is stored, if there is one.
  mlir::Value base = {};
  /// Whether the output goes past the caches. Its rows must begin where a vector may.
  bool streams = false;
  /// How the weight is stored; null: as f32.
  kernel::FormatAttr format = {};
  /// Of an input of integers, see IntegerRows.h; null where it is of f32 or of pairs of bf16.
  mlir::Value scales = {};
  IntegerDot dot = IntegerDot::Portable;

  mlir::Value index(int64_t value) { return mlir::arith::ConstantIndexOp::create(b, value); }

  /// Rows [begin, end) of a block, which may be one of few columns. Sets what says how many.
  void emitBlock(int64_t rows, mlir::Value begin, mlir::Value end);
  /// Rows [begin, end) by tiles of `rows`, then one of what is left.
  void emitRows(int64_t rows, mlir::Value begin, mlir::Value end);
  /// Tiles of whole `rows` in [begin, end), of a range that goes on to `limit`, which bring the next block's panel near.
  void emitTilesAndBringNext(int64_t rows, mlir::Value begin, mlir::Value end, mlir::Value limit);

private:
  /// What a tile brings near while it computes: the panel of `block`, all of it, or one step of K in a turn of the
  /// loop, the one at `phase`. Nothing without a block.
  struct Ahead {
    mlir::Value block, phase;
  };
  using Values = llvm::SmallVector<mlir::Value>;

  mlir::VectorType vectorType() { return mlir::VectorType::get(lanes, b.getF32Type()); }
  mlir::Value columnOf(int64_t part);
  mlir::Value mask(int64_t part);
  /// Only the last vector of a tile may be partial.
  bool isMasked(int64_t part) { return partial && part == vectors - 1; }
  mlir::Value load(mlir::Value from, mlir::ValueRange at, int64_t part);
  Values initial(llvm::ArrayRef<mlir::Value> rowOf);
  void bringNear(Ahead ahead, mlir::Value k, mlir::Value lane);
  Values accumulate(llvm::ArrayRef<mlir::Value> rowOf, mlir::Value k, int64_t steps, Ahead ahead,
                    mlir::ValueRange accumulators);
  Values accumulateWord(const WeightReader &reader, llvm::ArrayRef<mlir::Value> rowOf, mlir::Value group,
                        mlir::Value word, mlir::ValueRange scales, mlir::ValueRange zeros,
                        mlir::ValueRange accumulators);
  Values accumulateGroup(llvm::ArrayRef<mlir::Value> rowOf, mlir::Value group, mlir::ValueRange accumulators);
  Values addStep(llvm::ArrayRef<mlir::Value> rowOf, mlir::Value k, mlir::ValueRange columns,
                 mlir::ValueRange accumulators);
  Values accumulateIntegers(llvm::ArrayRef<mlir::Value> rowOf, mlir::Value group,
                            mlir::ValueRange accumulators);
  bool isOfPairs();
  Values accumulatePairs(llvm::ArrayRef<mlir::Value> rowOf, mlir::Value group, mlir::ValueRange accumulators);
  Values dotsOf(const WeightReader &reader, llvm::ArrayRef<mlir::Value> rowOf, mlir::Value group,
                int64_t part);
  Values multiplyNarrow(llvm::ArrayRef<mlir::Value> rowOf, Values sums);
  Values loop(llvm::ArrayRef<mlir::Value> rowOf, mlir::Value from, mlir::Value to, int64_t steps, Ahead ahead,
              mlir::ValueRange accumulators);
  Values multiply(llvm::ArrayRef<mlir::Value> rowOf, int64_t unroll, Ahead ahead, Values sums);
  void bringBaseNear(int64_t rows, mlir::Value firstRow);
  void store(mlir::ValueRange rowOf, llvm::ArrayRef<mlir::Value> sums);
  void emit(int64_t rows, mlir::Value firstRow, int64_t unroll, Ahead ahead);
  void emitTiles(int64_t rows, mlir::Value begin, mlir::Value end,
                 llvm::function_ref<Ahead(mlir::Value)> aheadOf);
  mlir::Value nextBlock();
  mlir::Value isPanelSmall();
};

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_REGISTERTILE_H
