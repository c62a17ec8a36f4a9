// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Element types; see DType.h.
#include "lib/Checkpoint/DType.h"
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>

namespace adapter::checkpoint {

namespace {

struct Info {
  DType dtype;
  size_t size;
  const char *name;
  const char *safetensors;
};

constexpr Info infos[] = {
    {DType::F32, 4, "float32", "F32"},
    {DType::U8, 1, "uint8", "U8"},
    {DType::I8, 1, "int8", "I8"},
    {DType::U16, 2, "uint16", "U16"},
    {DType::I16, 2, "int16", "I16"},
    {DType::I32, 4, "int32", "I32"},
    {DType::I64, 8, "int64", "I64"},
    {DType::String, 0, "string", ""},
    {DType::Bool, 1, "bool", "BOOL"},
    {DType::F16, 2, "float16", "F16"},
    {DType::F64, 8, "float64", "F64"},
    {DType::U32, 4, "uint32", "U32"},
    {DType::U64, 8, "uint64", "U64"},
    {DType::C64, 8, "complex64", "C64"},
    {DType::C128, 16, "complex128", ""},
    {DType::BF16, 2, "bfloat16", "BF16"},
    {DType::F8E4M3FN, 1, "float8_e4m3fn", "F8_E4M3"},
    {DType::F8E4M3FNUZ, 1, "float8_e4m3fnuz", ""},
    {DType::F8E5M2, 1, "float8_e5m2", "F8_E5M2"},
    {DType::F8E5M2FNUZ, 1, "float8_e5m2fnuz", ""},
    {DType::U4, 0, "uint4", ""},
    {DType::I4, 0, "int4", ""},
    {DType::F4E2M1, 0, "float4_e2m1", ""},
    {DType::F8E8M0, 1, "float8_e8m0", "F8_E8M0"},
    {DType::U2, 0, "uint2", ""},
    {DType::I2, 0, "int2", ""},
};

const Info *find(DType dtype) {
  for (const Info &info : infos)
    if (info.dtype == dtype)
      return &info;
  return nullptr;
}

// Reads element i of possibly unaligned memory.
template <typename T>
T load(const std::byte *data, int64_t i) {
  T value;
  std::memcpy(&value, data + i * sizeof(T), sizeof(T));
  return value;
}

template <typename From, typename To, typename Convert>
void convert(const Tensor &from, Tensor &to, Convert function) {
  auto *out = reinterpret_cast<To *>(mutableData(to));
  for (int64_t i = 0, n = from.elements(); i < n; ++i)
    out[i] = function(load<From>(from.data, i));
}

bool aligned(const Tensor &tensor) { return reinterpret_cast<uintptr_t>(tensor.data) % 64 == 0; }

} // namespace

size_t dtypeSize(DType dtype) {
  const Info *info = find(dtype);
  return info ? info->size : 0;
}

std::string dtypeName(DType dtype) {
  const Info *info = find(dtype);
  return info ? info->name : "type " + std::to_string(static_cast<int>(dtype));
}

bool isFloat(DType dtype) {
  return dtype == DType::F32 || dtype == DType::F16 || dtype == DType::BF16 || dtype == DType::F64;
}

bool isFloat8(DType dtype) { return dtype == DType::F8E4M3FN || dtype == DType::F8E5M2; }

std::optional<DType> dtypeFromSafetensors(std::string_view name) {
  for (const Info &info : infos)
    if (!name.empty() && name == info.safetensors)
      return info.dtype;
  return std::nullopt;
}

std::string_view dtypeToSafetensors(DType dtype) {
  const Info *info = find(dtype);
  return info ? info->safetensors : "";
}

std::string shapeText(const std::vector<int64_t> &shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

std::optional<size_t> tensorBytes(DType dtype, const std::vector<int64_t> &shape) {
  size_t size = dtypeSize(dtype);
  if (!size)
    return std::nullopt;
  // The product of the dims before a zero must not overflow either: elements() multiplies them all.
  int64_t product = static_cast<int64_t>(size);
  bool empty = false;
  for (int64_t dim : shape) {
    if (dim < 0)
      return std::nullopt;
    if (dim == 0)
      empty = true;
    else if (__builtin_mul_overflow(product, dim, &product))
      return std::nullopt;
  }
  return empty ? 0 : static_cast<size_t>(product);
}

float f16ToF32(uint16_t bits) {
  uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16, exponent = (bits >> 10) & 0x1f,
           mantissa = bits & 0x3ff;
  if (exponent == 0) {
    float value = std::ldexp(static_cast<float>(mantissa), -24);
    return sign ? -value : value;
  }
  uint32_t wide = exponent == 31 ? (sign | 0x7f800000 | mantissa << 13)
                                 : (sign | (exponent + 112) << 23 | mantissa << 13);
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}

float bf16ToF32(uint16_t bits) {
  uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}

float f8e4m3fnToF32(uint8_t bits) {
  int exponent = (bits >> 3) & 0xf, mantissa = bits & 7;
  float value = exponent ? std::ldexp(static_cast<float>(8 + mantissa), exponent - 10)
                         : std::ldexp(static_cast<float>(mantissa), -9);
  if (exponent == 0xf && mantissa == 7) // there are no infinities
    value = std::numeric_limits<float>::quiet_NaN();
  return bits & 0x80 ? -value : value;
}

// The upper half of an f16.
float f8e5m2ToF32(uint8_t bits) { return f16ToF32(static_cast<uint16_t>(bits << 8)); }

Tensor allocateTensor(DType dtype, std::vector<int64_t> shape) {
  std::optional<size_t> bytes = tensorBytes(dtype, shape);
  if (!bytes || *bytes > std::numeric_limits<size_t>::max() - 64)
    throw std::bad_alloc();
  size_t rounded = (*bytes + 63) / 64 * 64;
  void *memory = std::aligned_alloc(64, rounded ? rounded : 64);
  if (!memory)
    throw std::bad_alloc();
  std::memset(memory, 0, rounded ? rounded : 64);
  Tensor tensor;
  tensor.dtype = dtype;
  tensor.shape = std::move(shape);
  tensor.data = static_cast<const std::byte *>(memory);
  tensor.bytes = *bytes;
  tensor.owner = std::shared_ptr<const void>(memory, [](const void *p) { std::free(const_cast<void *>(p)); });
  return tensor;
}

std::byte *mutableData(Tensor &tensor) { return const_cast<std::byte *>(tensor.data); }

Result<Tensor> toF32(const Tensor &tensor) {
  if (tensor.dtype == DType::F32 && aligned(tensor))
    return tensor;
  if (!isFloat(tensor.dtype) && !isFloat8(tensor.dtype))
    return Error{"tensor '" + tensor.key + "' is " + dtypeName(tensor.dtype) +
                 ", but float16, bfloat16, float32 or float64 was expected"};
  Tensor result = allocateTensor(DType::F32, tensor.shape);
  result.key = tensor.key;
  switch (tensor.dtype) {
  case DType::F16:
    convert<uint16_t, float>(tensor, result, f16ToF32);
    break;
  case DType::BF16:
    convert<uint16_t, float>(tensor, result, bf16ToF32);
    break;
  case DType::F64:
    convert<double, float>(tensor, result, [](double value) { return static_cast<float>(value); });
    break;
  case DType::F8E4M3FN:
    convert<uint8_t, float>(tensor, result, f8e4m3fnToF32);
    break;
  case DType::F8E5M2:
    convert<uint8_t, float>(tensor, result, f8e5m2ToF32);
    break;
  default:
    std::memcpy(mutableData(result), tensor.data, tensor.bytes);
  }
  return result;
}

Result<Tensor> toI64(const Tensor &tensor) {
  if (tensor.dtype == DType::I64 && aligned(tensor))
    return tensor;
  Tensor result = allocateTensor(DType::I64, tensor.shape);
  result.key = tensor.key;
  auto widen = [](auto value) { return static_cast<int64_t>(value); };
  switch (tensor.dtype) {
  case DType::I64:
    std::memcpy(mutableData(result), tensor.data, tensor.bytes);
    break;
  case DType::I32:
    convert<int32_t, int64_t>(tensor, result, widen);
    break;
  case DType::I16:
    convert<int16_t, int64_t>(tensor, result, widen);
    break;
  case DType::I8:
    convert<int8_t, int64_t>(tensor, result, widen);
    break;
  case DType::U8:
  case DType::Bool:
    convert<uint8_t, int64_t>(tensor, result, widen);
    break;
  case DType::U16:
    convert<uint16_t, int64_t>(tensor, result, widen);
    break;
  case DType::U32:
    convert<uint32_t, int64_t>(tensor, result, widen);
    break;
  default:
    return Error{"tensor '" + tensor.key + "' is " + dtypeName(tensor.dtype) +
                 ", but integers were expected"};
  }
  return result;
}

bool allFinite(const Tensor &tensor) {
  int64_t n = tensor.elements();
  // An exponent of all ones is a NaN or an infinity; in float8_e4m3fn, with a mantissa of all ones, a NaN.
  auto none = [&](auto example, auto mask) {
    using T = decltype(example);
    for (int64_t i = 0; i < n; ++i)
      if ((load<T>(tensor.data, i) & static_cast<T>(mask)) == static_cast<T>(mask))
        return false;
    return true;
  };
  switch (tensor.dtype) {
  case DType::F16:
    return none(uint16_t(), 0x7c00);
  case DType::BF16:
    return none(uint16_t(), 0x7f80);
  case DType::F32:
    return none(uint32_t(), 0x7f800000u);
  case DType::F64:
    return none(uint64_t(), 0x7ff0000000000000ull);
  case DType::F8E4M3FN:
    return none(uint8_t(), 0x7f);
  case DType::F8E5M2:
    return none(uint8_t(), 0x7c);
  default:
    return true;
  }
}

} // namespace adapter::checkpoint
