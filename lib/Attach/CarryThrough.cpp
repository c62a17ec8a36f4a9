// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Updates of a parameter as updates of what a graph computed from it; see Derivations.h. What is added is scaled alone;
// what replaces is computed as the graph's tensor was.
#include "lib/Attach/Derivations.h"
#include "lib/Attach/FormUse.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/LowRank.h"
#include <cmath>
#include <cstring>

using namespace adapter;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Tensor;
using checkpoint::Update;

namespace {
class Carrier {
public:
  Carrier(const Update &update, const Derivation &derivation, std::string name,
          const ModuleParameter &parameter)
      : result(update), derivation(derivation), name(std::move(name)), traits(traitsOf(update, parameter)),
        storedTransposed(parameter.storedTransposed),
        isTable(parameter.kind == adapter::SiteKind::Embedding) {}
  Result<Update> run();

private:
  // What the element at (row, column) of the parameter is multiplied by.
  double scaleAt(int64_t row, int64_t column) const {
    switch (derivation.kind) {
    case Derivation::Scaled:
      return derivation.factor;
    case Derivation::RowsScaled:
    case Derivation::Affine:
      return derivation.scales[row];
    case Derivation::ColumnsScaled:
      return derivation.scales[column];
    default:
      return 1.0;
    }
  }
  double offsetAt(int64_t row) const {
    return derivation.kind == Derivation::OnePlus  ? 1.0
           : derivation.kind == Derivation::Affine ? derivation.offsets[row]
                                                   : 0.0;
  }
  // Rewrites a tensor of the update: element i becomes change(i, value).
  Result<Update> change(const std::string &role, llvm::function_ref<double(int64_t, double)> change);
  Result<Update> carryFactors();
  Result<Update> carryWhole();
  Result<Update> carryRows();
  Result<Update> carryElements();
  Error refuse() const {
    return Error{"the graph holds " + derivation.text(name) + ", through which an update of the form '" +
                 result.formText() + "' cannot be carried; export a graph that holds " + name + " itself"};
  }

  Update result;
  const Derivation &derivation;
  std::string name;
  FormTraits traits;
  bool storedTransposed, isTable;
};
} // namespace

Result<Update> Carrier::change(const std::string &role, llvm::function_ref<double(int64_t, double)> change) {
  Tensor &tensor = result.tensors.at(role);
  Result<Tensor> wide = checkpoint::toF32(tensor);
  if (!wide)
    return wide.error();
  Tensor changed = checkpoint::allocateTensor(checkpoint::DType::F32, tensor.shape);
  changed.key = tensor.key;
  float *out = reinterpret_cast<float *>(checkpoint::mutableData(changed));
  for (int64_t i = 0; i < tensor.elements(); ++i)
    out[i] = static_cast<float>(change(i, reinterpret_cast<const float *>(wide->data)[i]));
  tensor = std::move(changed);
  return result;
}

// The outer factor is [rows of W, r, ...] and the inner one [r, columns of W, ...]; of a table the other way about.
Result<Update> Carrier::carryFactors() {
  bool isScaledByRow = derivation.kind == Derivation::Scaled || derivation.kind == Derivation::RowsScaled;
  bool hasLength = !traits.length.empty();
  auto changeLength = [&](auto scaleOf) {
    return change(traits.length, [&](int64_t i, double m) { return m * std::fabs(scaleOf(i)); });
  };
  if (derivation.kind == Derivation::Scaled) {
    result.scale *= derivation.factor;
    return hasLength ? changeLength([&](int64_t) { return derivation.factor; }) : result;
  }
  if (hasLength && (!isScaledByRow || isTable))
    return refuse();
  const Tensor &outer = result.tensors.at(traits.outer), &inner = result.tensors.at(traits.inner);
  // Whether it is the first axis of the outer factor that is scaled, or the last of the inner one.
  if (isScaledByRow != isTable) {
    int64_t width = outer.elements() / std::max<int64_t>(outer.shape[0], 1);
    Result<Update> scaled =
        change(traits.outer, [&](int64_t i, double value) { return value * derivation.scales[i / width]; });
    return scaled && hasLength ? changeLength([&](int64_t i) { return derivation.scales[i]; }) : scaled;
  }
  bool isKnown = isScaledByRow || derivation.kind == Derivation::ColumnsScaled;
  if (!isKnown || inner.shape.size() != 2)
    return refuse();
  int64_t width = inner.shape[1];
  return change(traits.inner, [&](int64_t i, double value) { return value * derivation.scales[i % width]; });
}

Result<Update> Carrier::carryWhole() {
  const Tensor &value = result.tensors.at(traits.elements);
  int64_t width = value.shape.empty() ? 1 : value.elements() / std::max<int64_t>(value.shape[0], 1);
  // Scales are of the rows and columns that the operator sees.
  int64_t scaled = static_cast<int64_t>(derivation.scales.size());
  bool byColumn = derivation.kind == Derivation::ColumnsScaled;
  if (scaled > 0 && (storedTransposed || scaled != (byColumn ? width : value.shape[0])))
    return refuse();
  return change(traits.elements, [&](int64_t i, double v) {
    int64_t row = width > 0 ? i / width : i, column = width > 0 ? i % width : 0;
    return scaleAt(row, column) * v + (traits.replaces ? offsetAt(row) : 0.0);
  });
}

Result<Update> Carrier::carryRows() {
  Result<Tensor> indices = checkpoint::toI64(result.tensors.at(traits.rows));
  if (!indices)
    return indices.error();
  const auto *row = reinterpret_cast<const int64_t *>(indices->data);
  int64_t width = result.tensors.at(traits.elements).shape[1];
  return change(traits.elements, [&](int64_t i, double v) {
    return scaleAt(row[i / width], i % width) * v + (traits.puts ? offsetAt(row[i / width]) : 0.0);
  });
}

Result<Update> Carrier::carryElements() {
  Result<Tensor> indices = checkpoint::toI64(result.tensors.at(traits.places));
  if (!indices)
    return indices.error();
  int64_t axes = indices->shape[0], count = result.tensors.at(traits.elements).elements();
  if (!derivation.scales.empty() && axes > 1 && (storedTransposed || axes != 2))
    return refuse();
  const auto *index = reinterpret_cast<const int64_t *>(indices->data);
  return change(traits.elements, [&](int64_t i, double v) {
    int64_t row = index[i], column = axes > 1 ? index[count + i] : 0;
    return scaleAt(row, column) * v + (traits.puts ? offsetAt(row) : 0.0);
  });
}

Result<Update> Carrier::run() {
  if (derivation.kind == Derivation::Itself)
    return result;
  if (traits.isFactors() && !result.masked)
    return carryFactors();
  if (traits.isWhole())
    return carryWhole();
  if (!traits.rows.empty())
    return carryRows();
  return traits.places.empty() ? Result<Update>(refuse()) : carryElements();
}

Result<Update> adapter::carryThrough(const Update &update, const Derivation &derivation,
                                     const std::string &name, const ModuleParameter &parameter) {
  return Carrier(update, derivation, name, parameter).run();
}

static Result<Tensor> transposed(const Tensor &matrix) {
  Result<Tensor> wide = checkpoint::toF32(matrix);
  if (!wide)
    return wide;
  Tensor turned = checkpoint::transposedMatrix(*wide);
  turned.key = matrix.key;
  return turned;
}

Result<Update> adapter::ofTiedHead(const Update &update, const ModuleParameter &table) {
  Update result = update;
  FormTraits traits = traitsOf(update, table);
  if (!traits.isFactors())
    return result;
  if (!traits.length.empty())
    return Error{
        "a tied output head cannot follow the lengths of its table's columns, which are over the vocabulary; "
        "export the model with the tie undone"};
  // (B A)^T = A^T B^T.
  Result<Tensor> outer = transposed(update.tensors.at(traits.inner)),
                 inner = transposed(update.tensors.at(traits.outer));
  if (!outer || !inner)
    return outer ? inner.error() : outer.error();
  result.layer = checkpoint::Layer::Product;
  result.tensors = {{traits.inner, std::move(*inner)}, {traits.outer, std::move(*outer)}};
  return result;
}
