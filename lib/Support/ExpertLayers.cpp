// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See ExpertLayers.h.
#include "lib/Support/ExpertLayers.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Hash.h"
#include "lib/Support/ParameterStore.h"

using namespace mlir;
using namespace adapter;

std::optional<ExpertLayer> adapter::expertLayerOf(ExpertsOp op) {
  ParameterStore &store = ParameterStore::get(op.getContext());
  ExpertLayer layer;
  std::vector<std::string> parts;
  for (Value weight : {op.getUp(), op.getDown()}) {
    auto parameter = weight.getDefiningOp<ParameterOp>();
    auto type = dyn_cast<RankedTensorType>(weight.getType());
    if (!parameter || !type || !type.hasStaticShape())
      return std::nullopt;
    const checkpoint::Tensor *tensor = store.lookup(parameter.getScope(), parameter.getKey());
    if (!tensor)
      return std::nullopt;
    if (layer.name.empty()) {
      layer.name = parameter.getKey().str();
      parts.push_back(layer.name);
    }
    parts.push_back(checkpoint::shapeText(tensor->shape));
    parts.push_back(checkpoint::hashBytes(tensor->data, tensor->bytes));
  }
  if (op.getLayer())
    layer.name = op.getLayer()->str();
  layer.identity = checkpoint::hashParts({parts.begin(), parts.end()});
  ArrayRef<int64_t> up = cast<ShapedType>(op.getUp().getType()).getShape();
  ArrayRef<int64_t> down = cast<ShapedType>(op.getDown().getType()).getShape();
  layer.experts = up[0];
  layer.inputWidth = up[op.getTransposed() ? 1 : 2];
  layer.outputWidth = down[op.getTransposed() ? 2 : 1];
  int64_t top = cast<ShapedType>(op.getIds().getType()).getShape()[1];
  layer.top = ShapedType::isDynamic(top) ? 0 : top;
  return layer;
}
