// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tensors for tests.
#ifndef ADAPTER_TEST_UNIT_TENSORS_H
#define ADAPTER_TEST_UNIT_TENSORS_H

#include "lib/Checkpoint/DType.h"
#include <cstring>
#include <string>
#include <vector>

namespace adapter::test {

template <typename T>
checkpoint::Tensor tensor(checkpoint::DType dtype, std::string key, std::vector<int64_t> shape,
                          const std::vector<T> &values) {
  checkpoint::Tensor result = checkpoint::allocateTensor(dtype, std::move(shape));
  result.key = std::move(key);
  if (size_t bytes = std::min(result.bytes, values.size() * sizeof(T)))
    std::memcpy(checkpoint::mutableData(result), values.data(), bytes);
  return result;
}

inline checkpoint::Tensor floats(std::string key, std::vector<int64_t> shape,
                                 const std::vector<float> &values) {
  return tensor<float>(checkpoint::DType::F32, std::move(key), std::move(shape), values);
}

// 0.5, 1.5, 2.5, ...
inline checkpoint::Tensor counting(std::string key, std::vector<int64_t> shape) {
  checkpoint::Tensor result = checkpoint::allocateTensor(checkpoint::DType::F32, std::move(shape));
  result.key = std::move(key);
  float *data = reinterpret_cast<float *>(checkpoint::mutableData(result));
  for (int64_t i = 0, n = result.elements(); i < n; ++i)
    data[i] = static_cast<float>(i) + 0.5f;
  return result;
}

template <typename T>
std::vector<T> values(const checkpoint::Tensor &tensor) {
  std::vector<T> result(tensor.bytes / sizeof(T));
  if (tensor.bytes)
    std::memcpy(result.data(), tensor.data, tensor.bytes);
  return result;
}

} // namespace adapter::test

#endif // ADAPTER_TEST_UNIT_TENSORS_H
