// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Updates of a parameter as updates of what a graph computed from it; see Derivations.h. What is added is scaled alone;
// what replaces is computed as the graph's tensor was.
#include "lib/Attach/Derivations.h"
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
  Carrier(const Update &update, const Derivation &derivation, std::string name, bool storedTransposed)
      : result(update), derivation(derivation), name(std::move(name)), storedTransposed(storedTransposed) {}
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
  Result<Update> change(const char *role, llvm::function_ref<double(int64_t, double)> change);
  Result<Update> carryFactors(const char *outer, const char *inner);
  Result<Update> carryValue(bool replaces);
  Result<Update> carryRows();
  Result<Update> carrySparse(bool overwrites);
  Error refuse() const {
    return Error{"the graph holds " + derivation.text(name) + ", through which an update of the form '" +
                 result.form + "' cannot be carried; export a graph that holds " + name + " itself"};
  }

  Update result;
  const Derivation &derivation;
  std::string name;
  bool storedTransposed;
};
} // namespace

Result<Update> Carrier::change(const char *role, llvm::function_ref<double(int64_t, double)> change) {
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

// `outer` [rows of W, r, ...], `inner` [r, columns of W, ...].
Result<Update> Carrier::carryFactors(const char *outer, const char *inner) {
  bool isScaledByRow = derivation.kind == Derivation::Scaled || derivation.kind == Derivation::RowsScaled;
  bool isEmbedding = std::strcmp(outer, "A") == 0;
  bool hasLength = result.tensors.count("magnitude") > 0;
  if (derivation.kind == Derivation::Scaled) {
    result.scale *= derivation.factor;
    if (!hasLength)
      return result;
    return change("magnitude", [&](int64_t, double m) { return m * std::fabs(derivation.factor); });
  }
  const Tensor &b = result.tensors.at(outer), &a = result.tensors.at(inner);
  if (hasLength && (!isScaledByRow || isEmbedding))
    return refuse();
  if (isScaledByRow) {
    // Of an embedding the rows are the columns of A.
    int64_t width = isEmbedding ? b.shape[1] : b.elements() / b.shape[0];
    Result<Update> scaled = change(outer, [&](int64_t i, double value) {
      return value * derivation.scales[isEmbedding ? i % width : i / width];
    });
    if (!scaled || !hasLength)
      return scaled;
    return change("magnitude", [&](int64_t i, double m) { return m * std::fabs(derivation.scales[i]); });
  }
  if (derivation.kind != Derivation::ColumnsScaled || a.shape.size() != 2)
    return refuse();
  int64_t width = a.shape[1];
  return change(inner, [&](int64_t i, double value) {
    return value * derivation.scales[isEmbedding ? i / width : i % width];
  });
}

Result<Update> Carrier::carryValue(bool replaces) {
  const Tensor &value = result.tensors.at("value");
  int64_t width = value.shape.empty() ? 1 : value.elements() / std::max<int64_t>(value.shape[0], 1);
  // Scales are of the rows and columns that the operator sees.
  int64_t scaled = static_cast<int64_t>(derivation.scales.size());
  bool byColumn = derivation.kind == Derivation::ColumnsScaled;
  if (scaled > 0 && (storedTransposed || scaled != (byColumn ? width : value.shape[0])))
    return refuse();
  return change("value", [&](int64_t i, double v) {
    int64_t row = width > 0 ? i / width : i, column = width > 0 ? i % width : 0;
    return scaleAt(row, column) * v + (replaces ? offsetAt(row) : 0.0);
  });
}

Result<Update> Carrier::carryRows() {
  const Tensor &rows = result.tensors.at("rows"), &indices = result.tensors.at("indices");
  int64_t width = rows.shape[1];
  return change("rows", [&](int64_t i, double v) {
    int64_t row;
    std::memcpy(&row, indices.data + i / width * sizeof(int64_t), sizeof row);
    return scaleAt(row, i % width) * v;
  });
}

Result<Update> Carrier::carrySparse(bool overwrites) {
  const Tensor &indices = result.tensors.at("indices");
  int64_t count = result.tensors.at("values").elements();
  if (!derivation.scales.empty() && indices.shape[0] > 1 && (storedTransposed || indices.shape[0] != 2))
    return refuse();
  const int64_t *index = reinterpret_cast<const int64_t *>(indices.data);
  return change("values", [&](int64_t i, double v) {
    int64_t row = index[i], column = indices.shape[0] > 1 ? index[count + i] : 0;
    return scaleAt(row, column) * v + (overwrites ? offsetAt(row) : 0.0);
  });
}

Result<Update> Carrier::run() {
  if (derivation.kind == Derivation::Itself)
    return result;
  const std::string &form = result.form;
  if (form == "lora" || form == "lora+dora" || form == "lora_conv" || form == "lora_conv+dora")
    return carryFactors("B", "A");
  if (form == "lora_embedding" || form == "lora_embedding+dora")
    return carryFactors("A", "B");
  if (form == "add" || form == "replace")
    return carryValue(form == "replace");
  if (form == "rows")
    return carryRows();
  if (form == "sparse" || form == "sparse+overwrite")
    return carrySparse(form != "sparse");
  return refuse();
}

Result<Update> adapter::carryThrough(const Update &update, const Derivation &derivation,
                                     const std::string &name, bool storedTransposed) {
  return Carrier(update, derivation, name, storedTransposed).run();
}

static Result<Tensor> transposed(const Tensor &matrix) {
  Result<Tensor> wide = checkpoint::toF32(matrix);
  if (!wide)
    return wide;
  Tensor turned = checkpoint::transposedMatrix(*wide);
  turned.key = matrix.key;
  return turned;
}

Result<Update> adapter::ofTiedHead(const Update &update) {
  Update result = update;
  if (update.form != "lora_embedding")
    return update.form == "lora_embedding+dora"
               ? Result<Update>(
                     Error{"a tied output head cannot follow DoRA of its table, whose norms are over the "
                           "vocabulary; export the model with the tie undone"})
               : Result<Update>(std::move(result));
  // (B A)^T = A^T B^T.
  Result<Tensor> up = transposed(update.tensors.at("A")), down = transposed(update.tensors.at("B"));
  if (!up || !down)
    return up ? down.error() : up.error();
  result.form = "lora";
  result.tensors = {{"A", std::move(*down)}, {"B", std::move(*up)}};
  return result;
}
