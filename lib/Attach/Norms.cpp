// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Norms.h. Of a product B A the norm comes from two small matrices: |B A|^2 is the trace of (B^T B) (A A^T).
#include "lib/Attach/Norms.h"
#include "lib/Attach/Derivations.h"
#include "lib/Attach/FormUse.h"
#include "lib/Checkpoint/DType.h"
#include "llvm/ADT/ArrayRef.h"
#include <cmath>

using namespace adapter;
using checkpoint::Result;
using checkpoint::Tensor;
using checkpoint::Update;

static llvm::ArrayRef<float> numbers(const Tensor &wide) {
  return {reinterpret_cast<const float *>(wide.data), static_cast<size_t>(wide.elements())};
}

static double normOf(llvm::ArrayRef<float> values) {
  double sum = 0;
  for (float value : values)
    sum += static_cast<double>(value) * value;
  return std::sqrt(sum);
}

std::optional<double> adapter::weightNorm(const ModuleParameter &parameter) {
  std::optional<Tensor> contents = floatContents(parameter);
  return contents ? std::optional(normOf(numbers(*contents))) : std::nullopt;
}

// Products of the rows of a matrix [rank, size], or of its columns where it is [size, rank].
static std::vector<double> gram(llvm::ArrayRef<float> values, int64_t rank, bool byRow) {
  int64_t size = static_cast<int64_t>(values.size()) / rank;
  std::vector<double> result(rank * rank, 0.0);
  for (int64_t i = 0; i < rank; ++i)
    for (int64_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < size; ++k)
        sum += static_cast<double>(byRow ? values[i * size + k] : values[k * rank + i]) *
               (byRow ? values[j * size + k] : values[k * rank + j]);
      result[i * rank + j] = result[j * rank + i] = sum;
    }
  return result;
}

static std::optional<double> lowRankNorm(const Update &update, const FormTraits &traits) {
  const Tensor &inner = update.tensors.at(traits.inner);
  Result<Tensor> a = checkpoint::toF32(inner), b = checkpoint::toF32(update.tensors.at(traits.outer));
  int64_t rank = inner.shape[0];
  if (!a || !b || rank < 1)
    return std::nullopt;
  std::vector<double> left = gram(numbers(*b), rank, /*byRow=*/false),
                      right = gram(numbers(*a), rank, /*byRow=*/true);
  double trace = 0;
  for (size_t i = 0; i < left.size(); ++i)
    trace += left[i] * right[i];
  return std::fabs(update.scale) * std::sqrt(std::max(trace, 0.0));
}

// Of a value in another's place the difference.
static std::optional<double> differenceNorm(const Tensor &whole, const ModuleParameter &parameter) {
  std::optional<Tensor> contents = floatContents(parameter);
  Result<Tensor> value = checkpoint::toF32(whole);
  bool isMatrix = parameter.kind == SiteKind::Linear || parameter.kind == SiteKind::Embedding;
  if (!contents || !value || contents->elements() != value->elements())
    return std::nullopt;
  llvm::ArrayRef<float> now = numbers(*value), before = numbers(*contents);
  int64_t rows = isMatrix ? parameter.shape[0] : 1, columns = static_cast<int64_t>(now.size()) / rows;
  bool isTurned = isMatrix && parameter.transposed != parameter.storedTransposed;
  double sum = 0;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) {
      double difference =
          static_cast<double>(now[r * columns + c]) - before[isTurned ? c * rows + r : r * columns + c];
      sum += difference * difference;
    }
  return std::sqrt(sum);
}

std::optional<double> adapter::updateNorm(const Update &update, const ModuleParameter &parameter) {
  FormTraits traits = traitsOf(update, parameter);
  if (traits.isFactors())
    return traits.length.empty() && !update.masked ? lowRankNorm(update, traits) : std::nullopt;
  if (traits.elements.empty() || traits.puts)
    return std::nullopt;
  const Tensor &elements = update.tensors.at(traits.elements);
  if (traits.replaces)
    return differenceNorm(elements, parameter);
  Result<Tensor> values = checkpoint::toF32(elements);
  return values ? std::optional(std::fabs(update.scale) * normOf(numbers(*values))) : std::nullopt;
}
