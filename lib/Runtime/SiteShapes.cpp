// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Shapes of updates; see SiteShapes.h.
#include "lib/Runtime/SiteShapes.h"
#include "lib/Checkpoint/Bottleneck.h"
#include "lib/Checkpoint/DType.h"
#include <map>
#include <string>

namespace adapter::runtime {

using checkpoint::Done;
using checkpoint::DType;
using checkpoint::Error;
using checkpoint::Status;
using checkpoint::Tensor;

namespace {

constexpr int64_t rankDim = -1, countDim = -2; // sizes that the adapter decides
using Shape = std::vector<int64_t>;

// The shape of the parameter as checkpoints have it.
Shape whole(const artifact::Site &site) {
  if (site.kind() == artifact::VECTOR)
    return {site.rows()};
  return site.transposed() ? Shape{site.columns(), site.rows()} : Shape{site.rows(), site.columns()};
}

// Coordinates [dims, n] must lie within the parameter, ascend in row-major order and differ.
Status checkCoordinates(const Tensor &tensor, const Shape &shape) {
  const auto *index = reinterpret_cast<const int64_t *>(tensor.data);
  int64_t dims = tensor.shape[0], count = tensor.shape[1];
  for (int64_t k = 0; k < count; ++k) {
    bool ascends = k == 0;
    for (int64_t d = 0; d < dims; ++d) {
      int64_t at = index[d * count + k];
      if (at < 0 || at >= shape[d])
        return Error{"tensor '" + tensor.key + "' holds the index " + std::to_string(at) +
                     ", but the parameter has shape " + checkpoint::shapeText(shape)};
      if (!ascends && at < index[d * count + k - 1])
        return Error{"tensor '" + tensor.key + "': its indices are not in ascending order"};
      ascends = ascends || at > index[d * count + k - 1];
    }
    if (!ascends)
      return Error{"tensor '" + tensor.key + "' names an element twice"};
  }
  return Done{};
}

// The shape of each role at a site; empty where the form is unknown there.
std::map<std::string, Shape> shapesOf(const artifact::Site &site, const std::string &form) {
  int64_t rows = site.rows(), columns = site.columns();
  bool linear = site.kind() == artifact::LINEAR, embedding = site.kind() == artifact::EMBEDDING;
  bool matrix = linear || embedding;
  if (form == "replace" || form == "add")
    return {{"value", whole(site)}};
  if (form == "sparse" || form == "sparse+overwrite")
    return {{"indices", {matrix ? 2 : 1, countDim}}, {"values", {countDim}}};
  if (form == "rows" && matrix && !site.transposed())
    return {{"indices", {countDim}}, {"rows", {countDim, columns}}};
  if (linear && (form == "lora" || form == "lora+dora"))
    return {{"A", {rankDim, columns}}, {"B", {rows, rankDim}}, {"magnitude", {rows}}};
  if (std::optional<checkpoint::BottleneckForm> module = checkpoint::BottleneckForm::parse(form);
      module && !module->modules && site.kind() == artifact::BOTTLENECK)
    return {{"down", {rankDim, columns}},
            {"down_bias", {rankDim}},
            {"up", {rows, rankDim}},
            {"up_bias", {rows}},
            {"channel", {rows}},
            {"norm_before", {columns}},
            {"norm_before_bias", {columns}},
            {"norm_after", {rows}},
            {"norm_after_bias", {rows}},
            {"gate", {1, columns}},
            {"gate_bias", {1}}};
  if (embedding && (form == "lora_embedding" || form == "lora_embedding+dora"))
    return {{"A", {rankDim, rows}}, {"B", {columns, rankDim}}, {"magnitude", {columns}}};
  return {};
}

} // namespace

Status checkShapes(const artifact::Site &site, const artifact::SiteForm &form,
                   const std::vector<Tensor> &tensors) {
  std::map<std::string, Shape> expected = shapesOf(site, form.form());
  std::map<int64_t, int64_t> decided;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const std::string &role = form.roles(static_cast<int>(i));
    const Tensor &tensor = tensors[i];
    auto it = expected.find(role);
    if (it == expected.end())
      return Error{"this runtime does not know the form '" + form.form() + "' with the tensor '" + role +
                   "' there; a newer one is needed"};
    Shape want = it->second;
    for (size_t axis = 0; axis < want.size() && axis < tensor.shape.size(); ++axis)
      if (want[axis] < 0)
        want[axis] = decided.emplace(want[axis], tensor.shape[axis]).first->second;
    DType type = role == "indices" ? DType::I64 : DType::F32;
    if (tensor.shape != want || tensor.dtype != type)
      return Error{"tensor '" + tensor.key + "' is " + checkpoint::dtypeName(tensor.dtype) + " " +
                   checkpoint::shapeText(tensor.shape) + "; the model has " + checkpoint::dtypeName(type) +
                   " " + checkpoint::shapeText(want) + " there"};
    if (role != "indices")
      continue;
    if (want.size() == 2) {
      if (Status status = checkCoordinates(tensor, whole(site)); !status)
        return status;
      continue;
    }
    const auto *indices = reinterpret_cast<const int64_t *>(tensor.data);
    for (int64_t k = 0; k < tensor.shape[0]; ++k)
      if (indices[k] < 0 || indices[k] >= site.rows() || (k && indices[k] <= indices[k - 1]))
        return Error{"row " + std::to_string(indices[k]) + " is none of the " + std::to_string(site.rows()) +
                     " rows of the table, or the rows are not in ascending order"};
  }
  if (auto rank = decided.find(rankDim);
      rank != decided.end() && site.max_rank() && rank->second > site.max_rank())
    return Error{"rank " + std::to_string(rank->second) +
                 " is too high; the model was compiled for ranks up to " + std::to_string(site.max_rank())};
  return Done{};
}

} // namespace adapter::runtime
