// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Sparse.h.
#include "lib/Checkpoint/Sparse.h"
#include "lib/Checkpoint/DType.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace adapter::checkpoint {

// PEFT saves indices as float32 on Windows; beyond 2^24 they are no longer what they were.
static Result<Tensor> wholeNumbers(const std::string &file, const Tensor &tensor) {
  if (!isFloat(tensor.dtype))
    return toI64(tensor);
  Result<Tensor> floats = toF32(tensor);
  if (!floats)
    return floats.error();
  Tensor whole = allocateTensor(DType::I64, tensor.shape);
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    float value;
    std::memcpy(&value, floats->data + i * sizeof(float), sizeof(float));
    if (!(std::fabs(value) < 16777216.0f) || value != std::floor(value))
      return Error{file + ": tensor '" + tensor.key + "' holds " + std::to_string(value) +
                   ", which is no index"};
    int64_t index = static_cast<int64_t>(value);
    std::memcpy(mutableData(whole) + i * sizeof(int64_t), &index, sizeof(int64_t));
  }
  return whole;
}

Status setSparse(const std::string &file, const Tensor &indices, const Tensor &values, Update &update) {
  int64_t count = values.elements();
  if (values.shape.size() != 1 || indices.shape.size() != 2 || indices.shape[1] != count)
    return Error{file + ": tensor '" + indices.key + "' has shape " + shapeText(indices.shape) +
                 ", which does not fit the shape " + shapeText(values.shape) + " of '" + values.key +
                 "'; expected [2, " + std::to_string(count) + "]"};
  Result<Tensor> whole = wholeNumbers(file, indices);
  if (!whole)
    return whole.error();
  int64_t dims = indices.shape[0];
  const int64_t *from = reinterpret_cast<const int64_t *>(whole->data);
  for (int64_t i = 0; i < dims * count; ++i)
    if (from[i] < 0)
      return Error{file + ": tensor '" + indices.key + "' holds the index " + std::to_string(from[i])};
  auto precedes = [&](int64_t a, int64_t b) {
    for (int64_t d = 0; d < dims; ++d)
      if (from[d * count + a] != from[d * count + b])
        return from[d * count + a] < from[d * count + b];
    return false;
  };
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), precedes);
  for (int64_t i = 1; i < count; ++i)
    if (!precedes(order[i - 1], order[i])) {
      std::vector<int64_t> place;
      for (int64_t d = 0; d < dims; ++d)
        place.push_back(from[d * count + order[i]]);
      return Error{file + ": tensor '" + indices.key + "' names " + shapeText(place) + " twice"};
    }
  Tensor sortedIndices = allocateTensor(DType::I64, {dims, count});
  Tensor sortedValues = allocateTensor(values.dtype, {count});
  sortedIndices.key = indices.key;
  sortedValues.key = values.key;
  int64_t *to = reinterpret_cast<int64_t *>(mutableData(sortedIndices));
  size_t size = dtypeSize(values.dtype);
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t d = 0; d < dims; ++d)
      to[d * count + i] = from[d * count + order[i]];
    std::memcpy(mutableData(sortedValues) + i * size, values.data + order[i] * size, size);
  }
  update.tensors["indices"] = std::move(sortedIndices);
  update.tensors["values"] = std::move(sortedValues);
  return Done{};
}

} // namespace adapter::checkpoint
