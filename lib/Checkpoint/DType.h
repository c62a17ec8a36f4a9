// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Element types: sizes, names in the file formats, and conversion to f32.
#ifndef ADAPTER_LIB_CHECKPOINT_DTYPE_H
#define ADAPTER_LIB_CHECKPOINT_DTYPE_H

#include "lib/Checkpoint/Result.h"
#include "lib/Checkpoint/Tensor.h"
#include <optional>
#include <string>
#include <string_view>

namespace adapter::checkpoint {

// Bytes of one element; 0 for types without a whole number of bytes and for strings.
size_t dtypeSize(DType dtype);
// "float32", "int64", ...: as NumPy and ONNX's documents call it.
std::string dtypeName(DType dtype);
// Float types that are computed with; tensors of the two of 8 bits below are widened where they are read.
bool isFloat(DType dtype);
bool isFloat8(DType dtype); // float8_e4m3fn, float8_e5m2

std::optional<DType> dtypeFromSafetensors(std::string_view name);
// Empty where safetensors has no such type.
std::string_view dtypeToSafetensors(DType dtype);

// "[2, 3]"
std::string shapeText(const std::vector<int64_t> &shape);

// elements * dtypeSize, or nothing on a negative dimension, overflow or a type without a size.
std::optional<size_t> tensorBytes(DType dtype, const std::vector<int64_t> &shape);

float f16ToF32(uint16_t bits);
float bf16ToF32(uint16_t bits);
float f8e4m3fnToF32(uint8_t bits);
float f8e5m2ToF32(uint8_t bits);

// A tensor that owns 64-byte aligned, zeroed memory.
Tensor allocateTensor(DType dtype, std::vector<int64_t> shape);
// The bytes of such a tensor.
std::byte *mutableData(Tensor &tensor);

// The tensor as f32, aligned to 64 bytes: the same memory where it is already so, else a copy. Accepts
// f16, bf16, f32 and f64, and both of isFloat8.
Result<Tensor> toF32(const Tensor &tensor);
// The tensor as int64; accepts the integer types.
Result<Tensor> toI64(const Tensor &tensor);
// False when a float tensor holds a NaN or an infinity.
bool allFinite(const Tensor &tensor);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_DTYPE_H
