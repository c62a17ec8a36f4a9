// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LoRAs without a configuration; see LowRank.h.
#include "lib/Checkpoint/LowRank.h"
#include "lib/Checkpoint/DType.h"
#include <algorithm>
#include <cmath>
#include <cstring>

namespace adapter::checkpoint {

namespace {

struct Namer {
  const std::string &file;
  Error operator()(const Tensor &tensor, const std::string &problem) const {
    return Error{file + ": tensor '" + tensor.key + "' " + problem};
  }
};

bool onesFrom(const std::vector<int64_t> &shape, size_t first) {
  return std::all_of(shape.begin() + std::min(first, shape.size()), shape.end(),
                     [](int64_t dim) { return dim == 1; });
}

// mid (down): [r, r, k...] by [r, in, 1...] is [r, in, k...].
Result<Tensor> multiplyMiddle(const Tensor &mid, const Tensor &down) {
  Result<Tensor> middle = toF32(mid), low = toF32(down);
  if (!middle)
    return middle.error();
  if (!low)
    return low.error();
  std::vector<int64_t> shape = mid.shape;
  int64_t rank = mid.shape[0], in = down.shape[1], window = mid.elements() / (rank * rank);
  shape[1] = in;
  if (!tensorBytes(DType::F32, shape))
    return Error{"tensor '" + mid.key + "' makes a factor larger than memory"};
  Tensor product = allocateTensor(DType::F32, shape);
  product.key = down.key;
  const auto *m = reinterpret_cast<const float *>(middle->data);
  const auto *d = reinterpret_cast<const float *>(low->data);
  auto *out = reinterpret_cast<float *>(mutableData(product));
  for (int64_t p = 0; p < rank; ++p)
    for (int64_t i = 0; i < in; ++i)
      for (int64_t k = 0; k < window; ++k) {
        double sum = 0;
        for (int64_t q = 0; q < rank; ++q)
          sum += static_cast<double>(m[(p * rank + q) * window + k]) * d[q * in + i];
        out[(p * in + i) * window + k] = static_cast<float>(sum);
      }
  if (!allFinite(product))
    return Error{"tensor '" + mid.key + "' times '" + down.key + "' is beyond float32"};
  return product;
}

Status checkShapes(const Namer &wrong, const LowRank &parts) {
  const Tensor &down = *parts.down, &up = *parts.up;
  const std::vector<int64_t> &a = down.shape, &b = up.shape;
  if (a.size() < 2 || b.size() != a.size() || a[0] != b[1] || !onesFrom(b, 2))
    return wrong(up, "has shape " + shapeText(b) + ", which does not fit the shape " + shapeText(a) +
                         " of '" + down.key + "'; expected [out, " +
                         (a.empty() ? "rank" : std::to_string(a[0])) +
                         "], and 1 for each dimension of a window");
  if (const Tensor *mid = parts.mid)
    if (a.size() < 3 || mid->shape.size() != a.size() || mid->shape[0] != a[0] || mid->shape[1] != a[0] ||
        !onesFrom(a, 2))
      return wrong(*mid, "has shape " + shapeText(mid->shape) + ", which does not fit the shape " +
                             shapeText(a) + " of '" + down.key +
                             "'; expected [rank, rank, window...] with a window of 1 there");
  if (const Tensor *magnitude = parts.magnitude) {
    if (magnitude->elements() == b[0] && !magnitude->shape.empty() && magnitude->shape[0] == b[0])
      return Done{};
    return wrong(*magnitude,
                 "has shape " + shapeText(magnitude->shape) + "; expected [" + std::to_string(b[0]) +
                     ", 1...], one for each output" +
                     (magnitude->elements() == a[1] ? "; one for each input is not supported" : ""));
  }
  return Done{};
}

} // namespace

Result<double> numberOf(const Tensor &tensor) {
  if (tensor.elements() != 1)
    return Error{"tensor '" + tensor.key + "' has shape " + shapeText(tensor.shape) +
                 "; expected a single number"};
  if (isFloat(tensor.dtype)) {
    if (tensor.dtype == DType::F64) {
      double value;
      std::memcpy(&value, tensor.data, sizeof value);
      return value;
    }
    Result<Tensor> wide = toF32(tensor);
    if (!wide)
      return wide.error();
    return static_cast<double>(reinterpret_cast<const float *>(wide->data)[0]);
  }
  Result<Tensor> wide = toI64(tensor);
  if (!wide)
    return wide.error();
  return static_cast<double>(reinterpret_cast<const int64_t *>(wide->data)[0]);
}

Tensor transposedMatrix(const Tensor &matrix) {
  int64_t rows = matrix.shape[0], columns = matrix.shape[1];
  size_t size = dtypeSize(matrix.dtype);
  Tensor result = allocateTensor(matrix.dtype, {columns, rows});
  result.key = matrix.key;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      std::memcpy(mutableData(result) + (c * rows + r) * size, matrix.data + (r * columns + c) * size, size);
  return result;
}

Result<Update> lowRankUpdate(const std::string &file, const std::string &module, const LowRank &parts) {
  Namer wrong{file};
  if (!parts.down || !parts.up)
    return wrong(parts.any(), std::string("stands without the factor that goes ") +
                                  (parts.down ? "up" : "down") + " of the same module");
  for (const Tensor *tensor : {parts.down, parts.up, parts.mid, parts.magnitude})
    if (tensor && !isFloat(tensor->dtype))
      return wrong(*tensor, "is " + dtypeName(tensor->dtype) + "; expected float16, bfloat16 or float32");
  if (Status status = checkShapes(wrong, parts); !status)
    return status.error();
  Update update;
  update.module = module;
  update.parameter = "weight";
  update.form = "lora";
  update.layer = Layer::Product;
  update.rank = parts.down->shape[0];
  update.tensors["A"] = *parts.down;
  update.tensors["B"] = *parts.up;
  if (parts.mid) {
    Result<Tensor> product = multiplyMiddle(*parts.mid, *parts.down);
    if (!product)
      return Error{file + ": " + product.error().message};
    update.tensors["A"] = std::move(*product);
  }
  if (parts.magnitude) {
    Tensor magnitude = *parts.magnitude;
    magnitude.shape = {magnitude.elements()};
    update.tensors["magnitude"] = std::move(magnitude);
  }
  if (parts.alpha) {
    Result<double> alpha = numberOf(*parts.alpha);
    if (!alpha)
      return Error{file + ": " + alpha.error().message};
    update.scale = *alpha / static_cast<double>(update.rank);
    if (!std::isfinite(update.scale))
      return wrong(*parts.alpha, "gives no finite scale");
  }
  return update;
}

Result<Update> transposedLowRankUpdate(const std::string &file, const std::string &module, LowRank parts) {
  for (const Tensor *factor : {parts.down, parts.up})
    if (factor && factor->shape.size() != 2)
      return Namer{file}(*factor, "has shape " + shapeText(factor->shape) +
                                      "; expected a matrix (adapters of experts are not supported)");
  if (!parts.down || !parts.up)
    return lowRankUpdate(file, module, parts);
  Tensor down = transposedMatrix(*parts.down), up = transposedMatrix(*parts.up);
  parts.down = &down;
  parts.up = &up;
  return lowRankUpdate(file, module, parts);
}

Result<Update> replacement(const std::string &file, const Tensor &tensor) {
  size_t dot = tensor.key.rfind('.');
  if (dot == std::string::npos || dot == 0 || dot + 1 == tensor.key.size() || !isFloat(tensor.dtype))
    return Namer{file}(tensor, "has no place: it is not a parameter of a module, of floats");
  Update update;
  update.module = tensor.key.substr(0, dot);
  update.parameter = tensor.key.substr(dot + 1);
  update.form = "replace";
  update.tensors["value"] = tensor;
  return update;
}

} // namespace adapter::checkpoint
