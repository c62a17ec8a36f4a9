// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See ProfileCommand.h.
#include "lib/RunTool/ProfileCommand.h"
#include "lib/Checkpoint/Json.h"
#include "lib/Checkpoint/Text.h"
#include "lib/Placement/Recorder.h"
#include <algorithm>
#include <cstdio>

namespace adapter::runtool {

using checkpoint::Done;
using checkpoint::Json;

static Result<std::vector<placement::LayerProfile>> layersOf(OpenModel &model) {
  Result<std::string> text = model.info();
  if (!text)
    return text.error();
  Result<Json> info = checkpoint::parseJson(*text, "info");
  if (!info)
    return info.error();
  if (info->value("ranks", 0) > 1)
    return Error{
        "the model is partitioned already; profile one that was compiled without --partition-experts"};
  std::vector<placement::LayerProfile> layers;
  for (const Json &layer : info->value("expert_layers", Json::array())) {
    placement::LayerProfile &profile = layers.emplace_back();
    profile.name = layer.value("name", "");
    profile.identity = layer.value("identity", "");
    profile.experts = layer.value("experts", int64_t(0));
  }
  if (layers.empty())
    return Error{"the model has no layer of experts to profile"};
  return layers;
}

static void record(void *context, int32_t layer, int64_t tokens, int64_t top, const int64_t *experts) {
  static_cast<placement::Recorder *>(context)->record(layer, tokens, top, experts);
}

Status profileRouting(OpenModel &model, const std::string &path) {
  Result<std::vector<placement::LayerProfile>> layers = layersOf(model);
  if (!layers)
    return layers.error();
  placement::Recorder recorder(std::move(*layers));
  for (size_t batch = 0; batch < model.batches(); ++batch) {
    Result<std::vector<Tensor>> outputs = model.call(batch, record, &recorder);
    if (!outputs)
      return outputs.error();
    if (!recorder.fault().empty())
      return Error{recorder.fault()};
  }
  if (Status status = model.confirm(); !status)
    return status;
  if (Status status = placement::writeProfile(path, recorder.get()); !status)
    return status;
  for (const placement::LayerProfile &layer : recorder.get().layers) {
    int64_t most = layer.counts.empty() ? 0 : *std::max_element(layer.counts.begin(), layer.counts.end());
    double mean = static_cast<double>(layer.tokens * layer.top) / static_cast<double>(layer.experts);
    std::printf("%s: %lld tokens, %lld of %lld experts each, the busiest has %.2f times the mean\n",
                checkpoint::printable(layer.name).c_str(), static_cast<long long>(layer.tokens),
                static_cast<long long>(layer.top), static_cast<long long>(layer.experts),
                mean > 0 ? static_cast<double>(most) / mean : 0.0);
  }
  return Done{};
}

} // namespace adapter::runtool
