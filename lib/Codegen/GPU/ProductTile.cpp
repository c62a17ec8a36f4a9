// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See ProductTile.h.
#include "lib/Codegen/GPU/ProductTile.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace adapter;

// Fills panel[k][at] for k < tileDepth, at < width; neighbouring threads take neighbours in memory.
void ProductTile::loadPanel(Value panel, int64_t width, bool depthIsFastest,
                            llvm::function_ref<Value(Value, Value)> element) {
  int64_t elements = s.tileDepth * width;
  for (int64_t first = 0; first < elements; first += threads()) {
    auto loadOne = [&] {
      Value number = k.add(k.thread(), k.index(first));
      Value fast = k.index(depthIsFastest ? s.tileDepth : width);
      Value inner = k.rem(number, fast), outer = k.div(number, fast);
      Value depth = depthIsFastest ? inner : outer, at = depthIsFastest ? outer : inner;
      Value place = k.add(k.mul(depth, k.index(pitch(width))), at);
      memref::StoreOp::create(k.b, element(depth, at), panel, place);
    };
    if (first + threads() <= elements)
      loadOne();
    else
      k.when(k.less(k.add(k.thread(), k.index(first)), k.index(elements)), loadOne);
  }
}

// One step in k of this thread's block: its first row and column in the panels are given. Both lie together, for
// loads of vectors.
SmallVector<Value> ProductTile::multiply(ValueRange sums, Value row, Value column) {
  SmallVector<Value> left, right, result;
  for (int64_t i = 0; i < s.threadRows; ++i)
    left.push_back(memref::LoadOp::create(k.b, k.shared(0), k.add(row, k.index(i))));
  for (int64_t j = 0; j < s.threadColumns; ++j)
    right.push_back(memref::LoadOp::create(k.b, k.shared(1), k.add(column, k.index(j))));
  for (int64_t i = 0; i < s.threadRows; ++i)
    for (int64_t j = 0; j < s.threadColumns; ++j)
      result.push_back(math::FmaOp::create(k.b, left[i], right[j], sums[i * s.threadColumns + j]));
  return result;
}

// Panels one after the other: LLVM would unroll a loop over few of them and load all before it multiplies, into
// more registers than there are. Targets that are not LLVM's do not see this.
static Attribute keepRolled(MLIRContext *context) {
  auto unroll =
      LLVM::LoopUnrollAttr::get(context, /*disable=*/BoolAttr::get(context, true), {}, {}, {}, {}, {}, {});
  return LLVM::LoopAnnotationAttr::get(context, {}, {}, {}, unroll, {}, {}, {}, {}, {}, {}, {}, {}, {}, {},
                                       {});
}

void ProductTile::emit(const ProductOperands &operands, Value rowTile, Value columnTile) {
  ImplicitLocOpBuilder &b = k.b;
  Type f32 = b.getF32Type();
  int64_t across = s.tileColumns / s.threadColumns;
  Value firstRow = k.mul(rowTile, k.index(s.tileRows));
  Value firstColumn = k.mul(columnTile, k.index(s.tileColumns));
  Value threadRow = k.mul(k.div(k.thread(), k.index(across)), k.index(s.threadRows));
  Value threadColumn = k.mul(k.rem(k.thread(), k.index(across)), k.index(s.threadColumns));
  Value zero = arith::ConstantOp::create(b, b.getF32FloatAttr(0));
  SmallVector<Value> start(s.threadRows * s.threadColumns, zero);

  auto panels = scf::ForOp::create(b, k.index(0), operands.depth, k.index(s.tileDepth), start);
  panels->setAttr("loop_annotation", keepRolled(b.getContext()));
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(panels.getBody());
    Value base = panels.getInductionVar();
    loadPanel(k.shared(0), s.tileRows, /*depthIsFastest=*/true, [&](Value depth, Value at) {
      Value row = k.add(firstRow, at), position = k.add(base, depth);
      return k.valueIf(k.both(k.less(row, operands.rows), k.less(position, operands.depth)), f32,
                       [&] { return operands.left(row, position); });
    });
    loadPanel(k.shared(1), s.tileColumns, operands.rightIsTransposed, [&](Value depth, Value at) {
      Value column = k.add(firstColumn, at), position = k.add(base, depth);
      Value within = k.less(position, operands.depth);
      if (!operands.paddedColumns)
        within = k.both(within, k.less(column, operands.columns));
      return k.valueIf(within, f32, [&] { return operands.right(position, column); });
    });
    gpu::BarrierOp::create(b);
    auto steps =
        scf::ForOp::create(b, k.index(0), k.index(s.tileDepth), k.index(1), panels.getRegionIterArgs());
    {
      OpBuilder::InsertionGuard inner(b);
      b.setInsertionPointToStart(steps.getBody());
      Value depth = steps.getInductionVar();
      Value row = k.add(k.mul(depth, k.index(pitch(s.tileRows))), threadRow);
      Value column = k.add(k.mul(depth, k.index(pitch(s.tileColumns))), threadColumn);
      scf::YieldOp::create(b, multiply(steps.getRegionIterArgs(), row, column));
    }
    gpu::BarrierOp::create(b);
    scf::YieldOp::create(b, steps.getResults());
  }

  for (int64_t i = 0; i < s.threadRows; ++i) {
    Value row = k.add(firstRow, k.add(threadRow, k.index(i)));
    for (int64_t j = 0; j < s.threadColumns; ++j) {
      Value column = k.add(firstColumn, k.add(threadColumn, k.index(j)));
      k.when(k.both(k.less(row, operands.rows), k.less(column, operands.columns)),
             [&] { operands.store(row, column, panels.getResult(i * s.threadColumns + j)); });
    }
  }
}
