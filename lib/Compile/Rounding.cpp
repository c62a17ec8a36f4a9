// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rounding of f64 to narrow floats. By way of f32 rounded to odd, which keeps the second rounding from seeing a
// tie that is none.
#include "lib/Compile/Rounding.h"
#include "lib/Checkpoint/DType.h"
#include <cmath>
#include <cstring>

using namespace adapter;
using checkpoint::DType;
using checkpoint::Result;
using checkpoint::Tensor;

bool adapter::isNarrow(DType type) { return type == DType::F16 || type == DType::BF16; }

static const double *doublesOf(const Tensor &tensor) { return reinterpret_cast<const double *>(tensor.data); }

Result<Tensor> adapter::widen(const Tensor &narrow) {
  Result<Tensor> single = checkpoint::toF32(narrow);
  if (!single)
    return single;
  Tensor wide = checkpoint::allocateTensor(DType::F64, narrow.shape);
  wide.key = narrow.key;
  auto *to = reinterpret_cast<double *>(checkpoint::mutableData(wide));
  const auto *from = reinterpret_cast<const float *>(single->data);
  std::copy(from, from + single->elements(), to);
  return wide;
}

// Toward zero, with the last bit set where that is not exact.
static float roundToOdd(double value) {
  auto nearest = static_cast<float>(value);
  if (!std::isfinite(value) || nearest == value)
    return nearest;
  uint32_t bits;
  std::memcpy(&bits, &nearest, sizeof bits);
  if (std::abs(static_cast<double>(nearest)) > std::abs(value))
    --bits;
  bits |= 1;
  std::memcpy(&nearest, &bits, sizeof bits);
  return nearest;
}

static uint16_t toBF16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (std::isnan(value))
    return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static uint16_t toF16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000)
    return static_cast<uint16_t>(sign | 0x7e00);
  if (magnitude >= 0x477ff000) // rounds beyond the largest number
    return static_cast<uint16_t>(sign | 0x7c00);
  if (magnitude < 0x38800000) { // subnormal: the sum's last bits are the result's
    float shifted;
    std::memcpy(&shifted, &magnitude, sizeof shifted);
    shifted += 0.5f;
    std::memcpy(&magnitude, &shifted, sizeof magnitude);
    return static_cast<uint16_t>(sign | (magnitude - 0x3f000000));
  }
  magnitude += 0xfff + (magnitude >> 13 & 1);
  return static_cast<uint16_t>(sign | (magnitude - 0x38000000) >> 13);
}

Tensor adapter::roundTo(const Tensor &wide, DType type) {
  Tensor result = checkpoint::allocateTensor(type, wide.shape);
  result.key = wide.key;
  auto *to = reinterpret_cast<uint16_t *>(checkpoint::mutableData(result));
  for (int64_t i = 0; i < wide.elements(); ++i) {
    float odd = roundToOdd(doublesOf(wide)[i]);
    to[i] = type == DType::BF16 ? toBF16(odd) : toF16(odd);
  }
  return result;
}

Result<double> adapter::retainedUpdateError(const Tensor &base, const Tensor &updated,
                                            const Tensor &rounded) {
  Result<Tensor> kept = widen(rounded);
  if (!kept)
    return kept.error();
  double lost = 0, update = 0;
  for (int64_t i = 0; i < updated.elements(); ++i) {
    double exact = doublesOf(updated)[i], loss = doublesOf(*kept)[i] - exact,
           change = exact - doublesOf(base)[i];
    lost += loss * loss;
    update += change * change;
  }
  return update > 0 ? std::sqrt(lost / update) : 0;
}
