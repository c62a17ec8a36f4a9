// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Older folders of AdapterHub; see AdapterHubOld.h. Follows loading.py and configuration/adapter_config.py of adapters
// 1.3, which reads them too.
#include "lib/Checkpoint/AdapterHubOld.h"
#include <algorithm>
#include <map>

namespace adapter::checkpoint {

// Dictionaries by name, of old names and today's; fields that are not there have their defaults.
static const std::map<std::string, Json> &namedConfigs() {
  static const std::map<std::string, Json> configs = [] {
    Json single = {{"mh_adapter", false},        {"output_adapter", true},    {"non_linearity", "relu"},
                   {"original_ln_before", true}, {"original_ln_after", true}, {"residual_before_ln", true},
                   {"reduction_factor", 16}};
    Json both = {{"mh_adapter", true},          {"output_adapter", true},    {"non_linearity", "swish"},
                 {"original_ln_before", false}, {"original_ln_after", true}, {"residual_before_ln", true},
                 {"reduction_factor", 16}};
    Json parallel = {{"mh_adapter", false},       {"output_adapter", true},
                     {"non_linearity", "relu"},   {"original_ln_before", false},
                     {"original_ln_after", true}, {"is_parallel", true},
                     {"reduction_factor", 2},     {"scaling", 4.0}};
    Json scaled = parallel, singleInverse = single, bothInverse = both;
    scaled["scaling"] = "learned";
    singleInverse["inv_adapter"] = bothInverse["inv_adapter"] = "nice";
    return std::map<std::string, Json>{
        {"pfeiffer", single},          {"seq_bn", single},           {"houlsby", both},
        {"double_seq_bn", both},       {"parallel", parallel},       {"par_bn", parallel},
        {"scaled_parallel", scaled},   {"scaled_par_bn", scaled},    {"pfeiffer+inv", singleInverse},
        {"seq_bn_inv", singleInverse}, {"houlsby+inv", bothInverse}, {"double_seq_bn_inv", bothInverse}};
  }();
  return configs;
}

static bool holdsInvertible(const Safetensors &tensors) {
  return std::any_of(tensors.tensors.begin(), tensors.tensors.end(),
                     [](const Tensor &tensor) { return tensor.key.find("invertible") != std::string::npos; });
}

Result<PeftConfig> currentHubConfig(const PeftConfig &folder, const Safetensors &tensors) {
  Json config = folder.fields().at("config");
  if (config.is_string()) {
    auto named = namedConfigs().find(config.get<std::string>());
    if (named == namedConfigs().end())
      return folder.error("config", "is '" + config.get<std::string>() +
                                        "', which is not the name of a bottleneck that is known here");
    config = named->second;
  }
  if (!config.is_object())
    return folder.error("config", "is no object; the folder holds no adapter that `adapters` saved");
  // Version 1 said in a dictionary of its own what is two fields since.
  if (auto nested = config.find("invertible_adapter"); nested != config.end()) {
    if (nested->is_object() && nested->contains("block_type") && !config.contains("inv_adapter"))
      config["inv_adapter"] = (*nested)["block_type"];
    else if (!nested->is_null())
      return folder.error("config.invertible_adapter", "is not a dictionary with block_type, or inv_adapter "
                                                       "stands beside it");
    config.erase("invertible_adapter");
  }
  // Adapters for tasks named an invertible adapter that they did not use.
  Result<std::string> type = folder.text("type");
  if (!type)
    return type.error();
  if (*type == "text_task" && !holdsInvertible(tensors))
    config.erase("inv_adapter");
  return folder.with(std::move(config));
}

std::string currentHubKey(std::string key) {
  for (const std::string old : {"attention_text_task_adapters", "attention_text_lang_adapters",
                                "layer_text_task_adapters", "layer_text_lang_adapters"})
    if (size_t at = key.find("." + old + "."); at != std::string::npos)
      key.replace(at + 1, old.size(), "adapters");
  return key;
}

} // namespace adapter::checkpoint
