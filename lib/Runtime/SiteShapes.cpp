// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Shapes of updates; see SiteShapes.h.
#include "lib/Runtime/SiteShapes.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Runtime/Manifest.h"
#include <map>
#include <string>

namespace adapter::runtime {

using checkpoint::Done;
using checkpoint::DType;
using checkpoint::Error;
using checkpoint::Status;
using checkpoint::Tensor;

namespace {

constexpr int64_t rankDim = -1; // a size that the adapter decides
using Shape = std::vector<int64_t>;

// The shape of each role of a module at a site; empty where the form is unknown there.
std::map<std::string, Shape> shapesOf(const artifact::Site &site, const artifact::SiteForm &form) {
  int64_t rows = site.rows(), columns = site.columns();
  if (!form.has_bottleneck() || site.kind() != artifact::BOTTLENECK)
    return {};
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
}

} // namespace

Status checkShapes(const artifact::Site &site, const artifact::SiteForm &form,
                   const std::vector<Tensor> &tensors) {
  std::map<std::string, Shape> expected = shapesOf(site, form);
  std::map<int64_t, int64_t> decided;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const std::string &role = form.roles(static_cast<int>(i));
    const Tensor &tensor = tensors[i];
    auto it = expected.find(role);
    if (it == expected.end())
      return Error{"this runtime does not know the form '" + formText(form) + "' with the tensor '" + role +
                   "' there; a newer one is needed"};
    Shape want = it->second;
    for (size_t axis = 0; axis < want.size() && axis < tensor.shape.size(); ++axis)
      if (want[axis] < 0)
        want[axis] = decided.emplace(want[axis], tensor.shape[axis]).first->second;
    if (tensor.shape != want || tensor.dtype != DType::F32)
      return Error{"tensor '" + tensor.key + "' is " + checkpoint::dtypeName(tensor.dtype) + " " +
                   checkpoint::shapeText(tensor.shape) + "; the model has float32 " +
                   checkpoint::shapeText(want) + " there"};
  }
  return Done{};
}

} // namespace adapter::runtime
