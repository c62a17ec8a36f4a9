// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See WeightFormat.h.
#include "lib/Codegen/WeightFormat.h"
#include "lib/Codegen/IntegerRows.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace adapter;
using kernel::NumberFormat;

int64_t WeightReader::columns() const {
  // Bytes of a group are in proportion to its columns.
  return cast<ShapedType>(weight.getType()).getDimSize(2) / format.bytes(1);
}

// A vector of `lanes` elements from a byte of the group on.
Value WeightReader::loadAs(Type element, Value group, Value byte) const {
  int64_t bytes = lanes * element.getIntOrFloatBitWidth() / 8;
  Value loaded = vector::LoadOp::create(b, VectorType::get(bytes, b.getI8Type()), weight,
                                        ValueRange{block, group, byte});
  return vector::BitCastOp::create(b, VectorType::get(lanes, element), loaded);
}

// What each column has one of in a group, from that byte on.
WeightReader::Values WeightReader::perColumn(Value group, int64_t first) const {
  Values result;
  for (int64_t part = 0; part < vectors; ++part) {
    Value at = arith::ConstantIndexOp::create(b, first + format.scaleSize() * part * lanes);
    result.push_back(format.getWideScales()
                         ? loadAs(b.getF32Type(), group, at)
                         : Value(arith::ExtFOp::create(b, VectorType::get(lanes, b.getF32Type()),
                                                       loadAs(b.getF16Type(), group, at))));
  }
  return result;
}

WeightReader::Values WeightReader::scales(Value group) const {
  return format.isInteger() ? perColumn(group, 0) : Values();
}

WeightReader::Values WeightReader::zeros(Value group) const {
  return format.getZeros() ? perColumn(group, format.scaleSize() * columns()) : Values();
}

WeightReader::Values WeightReader::words(Value group, Value word) const {
  Values result;
  Value row = arith::MulIOp::create(b, word, arith::ConstantIndexOp::create(b, 4 * columns()));
  for (int64_t part = 0; part < vectors; ++part) {
    Value offset = arith::ConstantIndexOp::create(b, format.scaleBytes(columns()) + 4 * part * lanes);
    result.push_back(loadAs(b.getI32Type(), group, arith::AddIOp::create(b, row, offset)));
  }
  return result;
}

Value WeightReader::number(Value word, int64_t step) const {
  auto constant = [&](int64_t value) { return spreadInteger(b, lanes, value); };
  auto floats = VectorType::get(lanes, b.getF32Type());
  switch (format.getNumber()) {
  case NumberFormat::BF16: {
    Value bits = step == 0 ? Value(arith::ShLIOp::create(b, word, constant(16)))
                           : Value(arith::AndIOp::create(b, word, constant(0xffff0000)));
    return arith::BitcastOp::create(b, floats, bits);
  }
  case NumberFormat::F16: {
    Value half = step == 0 ? word : Value(arith::ShRUIOp::create(b, word, constant(16)));
    Value narrow = arith::TruncIOp::create(b, VectorType::get(lanes, b.getI16Type()), half);
    Value bits = arith::BitcastOp::create(b, VectorType::get(lanes, b.getF16Type()), narrow);
    return arith::ExtFOp::create(b, floats, bits);
  }
  case NumberFormat::Int8:
  case NumberFormat::Int4: {
    int64_t width = format.getNumber() == NumberFormat::Int4 ? 4 : 8;
    int64_t place = width == 8 ? step : step < 4 ? 2 * step : 2 * (step - 4) + 1;
    Value low = place ? Value(arith::ShRUIOp::create(b, word, constant(width * place))) : word;
    Value whole = arith::AndIOp::create(b, low, constant((1 << width) - 1));
    if (!format.getZeros())
      whole = arith::SubIOp::create(b, whole, constant(format.offset()));
    return arith::SIToFPOp::create(b, floats, whole);
  }
  }
  llvm_unreachable("a format without numbers");
}

WeightReader::Values WeightReader::bytes(ValueRange words, int64_t part) const {
  Values result;
  for (Value word : words) {
    if (format.getNumber() == NumberFormat::Int4) {
      Value low = part ? Value(arith::ShRUIOp::create(b, word, spreadInteger(b, lanes, 4))) : word;
      word = arith::AndIOp::create(b, low, spreadInteger(b, lanes, 0x0f0f0f0f));
    }
    result.push_back(word);
  }
  return result;
}

WeightReader::Values WeightReader::numbers(ValueRange words, int64_t step, ValueRange scales,
                                           ValueRange zeros) const {
  Values result;
  for (auto [part, word] : llvm::enumerate(words)) {
    Value made = number(word, step);
    if (!zeros.empty())
      made = arith::SubFOp::create(b, made, zeros[part]);
    result.push_back(scales.empty() ? made : Value(arith::MulFOp::create(b, made, scales[part])));
  }
  return result;
}
