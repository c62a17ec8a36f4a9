// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A tensor of a checkpoint: a view of mapped bytes that keeps its mapping alive.
#ifndef ADAPTER_LIB_CHECKPOINT_TENSOR_H
#define ADAPTER_LIB_CHECKPOINT_TENSOR_H

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace adapter::checkpoint {

// Element types, numbered as in ONNX's TensorProto.DataType.
enum class DType : int32_t {
  Undefined = 0,
  F32 = 1,
  U8 = 2,
  I8 = 3,
  U16 = 4,
  I16 = 5,
  I32 = 6,
  I64 = 7,
  String = 8,
  Bool = 9,
  F16 = 10,
  F64 = 11,
  U32 = 12,
  U64 = 13,
  C64 = 14,
  C128 = 15,
  BF16 = 16,
  F8E4M3FN = 17,
  F8E4M3FNUZ = 18,
  F8E5M2 = 19,
  F8E5M2FNUZ = 20,
  U4 = 21,
  I4 = 22,
  F4E2M1 = 23,
  F8E8M0 = 24,
  U2 = 25,
  I2 = 26,
  F6E2M3 = 27,
  F6E3M2 = 28,
};

struct Tensor {
  DType dtype = DType::Undefined;
  std::vector<int64_t> shape;
  const std::byte *data = nullptr; // row-major, little-endian
  size_t bytes = 0;
  std::shared_ptr<const void> owner; // keeps `data` alive
  std::string key;                   // its name in the file, for messages

  int64_t elements() const {
    int64_t product = 1;
    for (int64_t dim : shape)
      product *= dim;
    return product;
  }
};

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_TENSOR_H
