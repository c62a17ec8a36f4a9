// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Functions over register tiles; see TileFunction.h.
#include "lib/Codegen/TileFunction.h"
#include "lib/Codegen/PairRows.h"
#include "lib/Codegen/RegisterTile.h"
#include "lib/Codegen/SharedFunction.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace adapter;

// A packed weight, or one out of many: then it begins somewhere in their buffer.
static MemRefType weightType(ImplicitLocOpBuilder &b, int64_t block, bool isSlice,
                             kernel::FormatAttr format = {}) {
  int64_t any = ShapedType::kDynamic;
  if (format)
    return MemRefType::get({any, any, format.bytes(block)}, b.getI8Type());
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

func::FuncOp TileFunctions::get(TileStart start, bool isSlice, kernel::FormatAttr format, RowKind kind) {
  static constexpr const char *names[] = {"kernel.tile", "kernel.tile_bias", "kernel.tile_accumulate"};
  std::string name = std::string(names[static_cast<int>(start)]) + (isSlice ? "_slice" : "");
  if (format)
    name += "_" + stringifyNumberFormat(format.getNumber()).str() + "_" + std::to_string(format.steps()) +
            (format.getWideScales() ? "_f32" : "") + (format.getZeros() ? "_zeros" : "");
  bool ofIntegers = kind == RowKind::Integers, ofPairs = kind == RowKind::Pairs;
  if (ofIntegers || ofPairs)
    name += ofPairs ? "_pairs" : "_integers";
  func::FuncOp &function = functions[name];
  if (function)
    return function;
  ImplicitLocOpBuilder b(module.getLoc(), module.getContext());
  b.setInsertionPointToEnd(module.getBody());
  int64_t any = ShapedType::kDynamic;
  Type index = b.getIndexType();
  SmallVector<Type> arguments{ofIntegers ? integerRowsType(b)
                              : ofPairs  ? pairRowsType(b, /*asPairs=*/true)
                                         : stridedMatrixType(b),
                              weightType(b, getBlock(), isSlice, format),
                              stridedMatrixType(b),
                              index,
                              index,
                              index};
  if (start == TileStart::Bias) {
    // That of a group is a part of all groups' as its weight is.
    auto layout = isSlice ? StridedLayoutAttr::get(b.getContext(), any, {1}) : StridedLayoutAttr();
    arguments.push_back(MemRefType::get({any}, b.getF32Type(), layout));
  }
  if (ofIntegers)
    arguments.push_back(integerScalesType(b));
  function = startSharedFunction(b, name, arguments);
  Block *entry = b.getInsertionBlock();
  Value bias = start == TileStart::Bias ? Value(entry->getArgument(6)) : Value();
  RegisterTile tile{b,
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
                    Value(),
                    Value(),
                    Value()};
  Value begin = entry->getArgument(4), end = entry->getArgument(5);
  tile.format = format;
  if (ofIntegers) {
    tile.scales = entry->getArguments().back();
    tile.dot = options.dot;
  }
  tile.column = arith::MulIOp::create(b, tile.block, tile.index(getBlock()));
  // Numbers of a narrow weight and what they are made of take registers, too; those of bf16 are made in place.
  // Of integers there are sums of each block beside those of all.
  bool isWide = !format || format.getNumber() == kernel::NumberFormat::BF16;
  int64_t fewer = ofIntegers ? std::max<int64_t>(rows / 2, 1) : std::max<int64_t>(rows - 2, 1);
  tile.emitBlock(isWide ? rows : fewer, begin, end);
  b.setInsertionPointToEnd(entry);
  func::ReturnOp::create(b);
  return function;
}

void TileFunctions::call(ImplicitLocOpBuilder &b, TileStart start, Value input, Value weight, Value bias,
                         Value output, Value block, Value begin, Value end, kernel::FormatAttr format,
                         Value scales) {
  bool isSlice = !cast<MemRefType>(weight.getType()).getLayout().isIdentity();
  bool ofWords = cast<MemRefType>(input.getType()).getElementType().isInteger(32);
  RowKind kind = scales ? RowKind::Integers : ofWords ? RowKind::Pairs : RowKind::Floats;
  func::FuncOp function = get(start, isSlice, format, kind);
  TypeRange types = function.getArgumentTypes();
  auto fit = [&](Value value, Type type) { return b.createOrFold<memref::CastOp>(type, value); };
  SmallVector<Value> operands{
      fit(input, types[0]), fit(weight, types[1]), fit(output, types[2]), block, begin, end};
  if (start == TileStart::Bias)
    operands.push_back(fit(bias, types[6]));
  if (scales)
    operands.push_back(fit(scales, types[operands.size()]));
  func::CallOp::create(b, function, operands);
}

func::FuncOp TileFunctions::roundingFor(kernel::FormatAttr format, bool mayEnd) {
  if (takesBF16(format)) {
    func::FuncOp &function = functions["round_bf16"];
    return function ? function : function = makePairRows(module, lanes, takesPairs(format));
  }
  // What repays zero points is that of one, and each column's times as much.
  int64_t offset = format.getZeros() ? 1 : format.offset();
  func::FuncOp &function = functions["round" + std::to_string(offset) + (mayEnd ? "_end" : "")];
  return function ? function : function = makeRoundRows(module, lanes, offset, mayEnd);
}

void TileFunctions::roundRows(ImplicitLocOpBuilder &b, kernel::FormatAttr format, Value matrix,
                              const IntegerRows &rows, Value begin, Value end, bool mayEnd) {
  func::FuncOp function = roundingFor(format, mayEnd);
  SmallVector<Value> operands{matrix, rows.words};
  if (rows.scales)
    operands.push_back(rows.scales);
  operands.append({begin, end});
  for (auto [operand, type] : llvm::zip(operands, function.getArgumentTypes()))
    if (isa<MemRefType>(type))
      operand = b.createOrFold<memref::CastOp>(type, operand);
  func::CallOp::create(b, function, operands);
}

// Whole blocks and tiles alone, so that code of them is small; whoever calls has the rest done in two steps.
func::FuncOp TileFunctions::getWithFactors(bool hasBias) {
  func::FuncOp &function = withFactors[hasBias];
  if (function)
    return function;
  ImplicitLocOpBuilder b(module.getLoc(), module.getContext());
  b.setInsertionPointToEnd(module.getBody());
  Type index = b.getIndexType(), matrix = stridedMatrixType(b), packed = weightType(b, getBlock(), false);
  SmallVector<Type> arguments{matrix, packed, matrix, matrix, packed, index, index, index, index};
  if (hasBias)
    arguments.push_back(MemRefType::get({ShapedType::kDynamic}, b.getF32Type()));
  function = startSharedFunction(b, hasBias ? "kernel.tile_bias_with_factors" : "kernel.tile_with_factors",
                                 arguments);
  Block *entry = b.getInsertionBlock();
  auto argument = [&](unsigned i) -> Value { return entry->getArgument(i); };
  RegisterTile tile{b,
                    lanes,
                    vectors,
                    /*partial=*/false,
                    hasBias ? TileStart::Bias : TileStart::Zero,
                    argument(0),
                    argument(1),
                    hasBias ? argument(9) : Value(),
                    argument(2),
                    argument(5),
                    Value(),
                    Value(),
                    argument(3),
                    argument(4)};
  tile.column = arith::MulIOp::create(b, tile.block, tile.index(getBlock()));
  tile.emitTilesAndBringNext(rows, argument(6), argument(7), argument(8));
  func::ReturnOp::create(b);
  return function;
}

void TileFunctions::callWithFactors(ImplicitLocOpBuilder &b, const FactoredProduct &product, Value block,
                                    Value begin, Value end, Value limit) {
  func::FuncOp function = getWithFactors(static_cast<bool>(product.bias));
  SmallVector<Value> operands{
      product.input, product.weight, product.output, product.inner, product.up, block, begin, end, limit};
  if (product.bias)
    operands.push_back(product.bias);
  for (auto [operand, type] : llvm::zip(operands, function.getArgumentTypes()))
    if (isa<MemRefType>(type))
      operand = b.createOrFold<memref::CastOp>(type, operand);
  func::CallOp::create(b, function, operands);
}
