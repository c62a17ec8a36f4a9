// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Quantised.h.
#include "lib/Support/Quantised.h"
#include "lib/Checkpoint/DType.h"
#include <algorithm>
#include <cstring>

using namespace adapter;
using checkpoint::DType;
using checkpoint::Tensor;

// A product's tile has the code of a group's blocks of 32 numbers written out.
static constexpr int64_t largestGroup = 128, rowBlock = 32, smallestGroup = 8;

bool IntegerView::isKnown(DType type) {
  switch (type) {
  case DType::U4:
  case DType::I4:
  case DType::U8:
  case DType::I8:
  case DType::U16:
  case DType::I16:
  case DType::I32:
    return true;
  default:
    return false;
  }
}

template <typename T>
static T readAt(const Tensor &tensor, int64_t i) {
  T value;
  std::memcpy(&value, tensor.data + i * sizeof value, sizeof value);
  return value;
}

int32_t IntegerView::operator[](int64_t i) const {
  switch (tensor.dtype) {
  case DType::U4:
  case DType::I4: {
    int32_t half = (static_cast<int32_t>(tensor.data[i / 2]) >> (i % 2 ? 4 : 0)) & 15;
    return tensor.dtype == DType::I4 && half >= 8 ? half - 16 : half;
  }
  case DType::I8:
    return readAt<int8_t>(tensor, i);
  case DType::U16:
    return readAt<uint16_t>(tensor, i);
  case DType::I16:
    return readAt<int16_t>(tensor, i);
  case DType::I32:
    return readAt<int32_t>(tensor, i);
  default:
    return readAt<uint8_t>(tensor, i);
  }
}

Tensor adapter::unpackedBits(const Tensor &bytes, int64_t rows, int64_t perRow, int64_t bits) {
  Tensor result = checkpoint::allocateTensor(DType::F32, {rows, perRow});
  auto *to = reinterpret_cast<float *>(checkpoint::mutableData(result));
  int64_t rowBytes = (perRow * bits + 7) / 8;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = 0; i < perRow; ++i) {
      int64_t bit = i * bits;
      auto byte = static_cast<uint32_t>(bytes.data[row * rowBytes + bit / 8]);
      to[row * perRow + i] = static_cast<float>((byte >> bit % 8) & ((1u << bits) - 1));
    }
  return result;
}

static bool isOfF16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  uint32_t mantissa = bits & 0x7fffff;
  int exponent = static_cast<int>(bits >> 23 & 255) - 127;
  if (exponent == -127)
    return mantissa == 0;
  if (exponent > 15 || exponent < -24)
    return false;
  int dropped = exponent >= -14 ? 13 : 13 - 14 - exponent;
  return ((mantissa | 0x800000) & ((1u << dropped) - 1)) == 0;
}

static bool areOfF16(const Tensor &tensor) {
  const auto *from = reinterpret_cast<const float *>(tensor.data);
  return !tensor.data || std::all_of(from, from + tensor.elements(), isOfF16);
}

void adapter::settle(Quantised &matrix) {
  const auto *zeros = reinterpret_cast<const float *>(matrix.zeros.data);
  float middle = matrix.bits == 4 ? 8 : 128;
  if (zeros && std::all_of(zeros, zeros + matrix.zeros.elements(), [&](float z) { return z == middle; }))
    matrix.zeros = {};
  matrix.wideScales = !areOfF16(matrix.scales) || !areOfF16(matrix.zeros);
  // One block alone is cut as it suits, and counts as whole groups.
  bool isOne = matrix.block >= matrix.columns;
  int64_t length = isOne ? matrix.columns : matrix.block;
  matrix.group = 0;
  for (int64_t step : {rowBlock, smallestGroup})
    for (int64_t group = largestGroup; group >= step && !matrix.group; group -= step)
      if (length % group == 0)
        matrix.group = group;
  if (isOne && (!matrix.group || matrix.group % rowBlock))
    matrix.group = rowBlock;
  if (isOne)
    matrix.block = (matrix.columns + matrix.group - 1) / matrix.group * matrix.group;
}

Tensor adapter::dequantised(const Quantised &matrix, bool transposed) {
  int64_t rows = matrix.rows, columns = matrix.columns;
  Tensor result = checkpoint::allocateTensor(DType::F32, transposed ? std::vector<int64_t>{columns, rows}
                                                                    : std::vector<int64_t>{rows, columns});
  auto *to = reinterpret_cast<float *>(checkpoint::mutableData(result));
  const auto *scales = reinterpret_cast<const float *>(matrix.scales.data);
  const auto *zeros = reinterpret_cast<const float *>(matrix.zeros.data);
  const auto *codes = reinterpret_cast<const uint8_t *>(matrix.codes.data);
  int64_t blocks = matrix.scales.shape[1], rowBytes = matrix.codes.shape[1];
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) {
      uint8_t byte = codes[r * rowBytes + c * matrix.bits / 8];
      int code = matrix.bits == 8 ? byte : byte >> (c % 2 ? 4 : 0) & 15;
      int64_t place = r * blocks + c / matrix.block;
      float zero = zeros ? zeros[place] : matrix.bits == 4 ? 8.0f : 128.0f;
      to[transposed ? c * rows + r : r * columns + c] = (static_cast<float>(code) - zero) * scales[place];
    }
  return result;
}
