// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Functions that compute rows [begin, end) of one column block of a product, register tile by register tile.
#ifndef ADAPTER_LIB_CODEGEN_TILEFUNCTION_H
#define ADAPTER_LIB_CODEGEN_TILEFUNCTION_H

#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Codegen/IntegerRows.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/StringMap.h"

namespace adapter {

/// What accumulators hold at first: zero, the bias, or what the output holds.
enum class TileStart { Zero, Bias, Output };

/// What products with narrow weights compute on.
struct RowOptions {
  bool integers = true; ///< rows are rounded to integers where the weight is of such
  IntegerDot dot = IntegerDot::Portable;
  bool bf16 = false;  ///< rows are rounded to bf16 where the weight is of such
  bool pairs = false; ///< then pairs of products are summed by one instruction
};

/// output = input weight (+ bias, if there is one) + inner up.
struct FactoredProduct {
  mlir::Value input, weight, bias, output, inner, up;
};

class TileFunctions {
public:
  /// Tiles of `rows` rows and `vectors` vectors of `lanes` f32.
  TileFunctions(mlir::ModuleOp module, int64_t lanes, int64_t rows, int64_t vectors, RowOptions options = {})
      : module(module), lanes(lanes), rows(rows), vectors(vectors), options(options) {}

  mlir::ModuleOp getModule() const { return module; }
  int64_t getLanes() const { return lanes; }
  int64_t getRows() const { return rows; }
  int64_t getBlock() const { return vectors * lanes; }

  /// Emits a call that computes output[begin:end, block's columns] from input [m, k], weight
  /// [blocks, k, block] and bias [n] (null unless start is Bias). Matrices may be strided by row; the weight may be
  /// one of several that lie one after the other, see sliceAt. With a format it is [blocks, groups, bytes]; with the
  /// scales of rows of integers the input is those, and one of i32 without scales is of pairs of bf16.
  void call(mlir::ImplicitLocOpBuilder &b, TileStart start, mlir::Value input, mlir::Value weight,
            mlir::Value bias, mlir::Value output, mlir::Value block, mlir::Value begin, mlir::Value end,
            kernel::FormatAttr format = {}, mlir::Value scales = {});

  /// Whether products with such a weight take rows of integers.
  bool takesIntegers(kernel::FormatAttr format) const {
    return format && format.isInteger() && options.integers && format.steps() % integerBlock == 0;
  }
  /// Whether they take rows rounded to bf16, and those as pairs.
  bool takesBF16(kernel::FormatAttr format) const {
    return format && format.getNumber() == kernel::NumberFormat::BF16 && options.bf16;
  }
  bool takesPairs(kernel::FormatAttr format) const { return takesBF16(format) && options.pairs; }
  /// The rows [begin, end) of a matrix of f32 as integers or as bf16, put into such ones. They may be longer than the
  /// matrix's, and go on with zeros, where it `mayEnd` before them.
  void roundRows(mlir::ImplicitLocOpBuilder &b, kernel::FormatAttr format, mlir::Value matrix,
                 const IntegerRows &rows, mlir::Value begin, mlir::Value end, bool mayEnd);

  /// Emits a call that computes rows [begin, end), whole tiles of a range that goes on to `limit`, of a block that is
  /// no partial one. A row gets what it gets from one product after the other.
  void callWithFactors(mlir::ImplicitLocOpBuilder &b, const FactoredProduct &product, mlir::Value block,
                       mlir::Value begin, mlir::Value end, mlir::Value limit);

private:
  enum class RowKind { Floats, Integers, Pairs };
  mlir::func::FuncOp get(TileStart start, bool isSlice, kernel::FormatAttr format, RowKind kind);
  mlir::func::FuncOp roundingFor(kernel::FormatAttr format, bool mayEnd);
  mlir::func::FuncOp getWithFactors(bool hasBias);

  mlir::ModuleOp module;
  int64_t lanes, rows, vectors;
  RowOptions options;
  llvm::StringMap<mlir::func::FuncOp> functions; // by name
  mlir::func::FuncOp withFactors[2];
};

/// The part of a contiguous buffer at `at` in its first dimension.
mlir::Value sliceAt(mlir::ImplicitLocOpBuilder &b, mlir::Value buffer, mlir::Value at);

} // namespace adapter

#endif // ADAPTER_LIB_CODEGEN_TILEFUNCTION_H
