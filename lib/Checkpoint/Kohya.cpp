// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LoRAs of image models as kohya's sd-scripts, LyCORIS and OneTrainer save them, one safetensors file with
//
//   <prefix>_<module's path, its dots as underscores>.lora_down.weight  [r, in, k...]
//   <the same>.lora_up.weight  [out, r, 1...]
//   <the same>.lora_mid.weight [r, r, k...]  where a convolution has three factors
//   <the same>.alpha           scale = alpha / r
//   <the same>.dora_scale      [out, 1...], DoRA with norms of rows (LyCORIS' wd_on_output)
//
// The prefix says which model of the pipeline it is: lora_unet, lora_te, lora_te1, lora_te2, ... or lycoris.
#include "lib/Checkpoint/Formats.h"
#include "lib/Checkpoint/Json.h"
#include "lib/Checkpoint/LowRank.h"
#include "lib/Checkpoint/Text.h"
#include <algorithm>

namespace adapter::checkpoint {

namespace {

// Longer ones first where one begins with another.
constexpr std::pair<const char *, const char *> prefixes[] = {{"lora_unet_", "unet"},
                                                              {"lora_transformer_", "transformer"},
                                                              {"lora_te1_", "text_encoder"},
                                                              {"lora_te2_", "text_encoder_2"},
                                                              {"lora_te3_", "text_encoder_3"},
                                                              {"lora_te_", "text_encoder"},
                                                              {"lycoris_", ""}};

constexpr std::pair<const char *, const Tensor * LowRank::*> roles[] = {{"lora_down.weight", &LowRank::down},
                                                                        {"lora_up.weight", &LowRank::up},
                                                                        {"lora_mid.weight", &LowRank::mid},
                                                                        {"alpha", &LowRank::alpha},
                                                                        {"dora_scale", &LowRank::magnitude}};

// Other methods of LyCORIS, by how what is behind the module begins.
constexpr std::pair<const char *, const char *> methods[] = {{"hada_", "LoHa"},
                                                             {"lokr_", "LoKr"},
                                                             {"oft_", "OFT"},
                                                             {"boft_", "BOFT"},
                                                             {"on_input", "IA3"},
                                                             {"weight", "IA3"},
                                                             {"diff", "a whole difference"},
                                                             {"w_norm", "a trained norm"},
                                                             {"b_norm", "a trained norm"},
                                                             {"a1.", "GLoRA"},
                                                             {"bias_", "a sparse bias"}};

const std::pair<const char *, const char *> *prefixOf(const std::string &key) {
  for (const auto &each : prefixes)
    if (startsWith(key, each.first))
      return &each;
  return nullptr;
}

struct Module {
  LowRank parts;
  std::string path, part;
};

Status place(const std::string &file, const Tensor &tensor, std::map<std::string, Module> &modules) {
  auto wrong = [&](const std::string &problem) {
    return Error{file + ": tensor '" + tensor.key + "' " + problem};
  };
  const auto *prefix = prefixOf(tensor.key);
  size_t dot = tensor.key.find('.');
  if (!prefix || dot == std::string::npos || dot <= std::string(prefix->first).size())
    return wrong(
        "has no place in a LoRA of kohya's: expected lora_unet_, lora_te_ or lycoris_ and a module's "
        "path in front");
  std::string end = tensor.key.substr(dot + 1);
  for (const auto &[name, role] : roles)
    if (end == name) {
      Module &module = modules[tensor.key.substr(0, dot)];
      size_t start = std::string(prefix->first).size();
      module.path = tensor.key.substr(start, dot - start);
      module.part = prefix->second;
      // CLIP's modules stand in a text_model or not, by the version of Transformers: what ends so is meant.
      const std::string container = "text_model_";
      if (startsWith(module.part, "text_encoder") && startsWith(module.path, container))
        module.path.erase(0, container.size());
      module.parts.*role = &tensor;
      return Done{};
    }
  for (const auto &[start, method] : methods)
    if (startsWith(end, start))
      return wrong("is of " + std::string(method) +
                   ", a method of LyCORIS that is not supported in such files; merge it with the tool that "
                   "trained it, or train a LoRA (networks.lora, or algo=locon)");
  return wrong("has no place in a LoRA: expected lora_down.weight, lora_up.weight, lora_mid.weight, alpha or "
               "dora_scale behind the module");
}

// What training says of itself that tensors do not tell.
Status checkMetadata(const std::string &file, const std::map<std::string, std::string> &metadata) {
  auto found = metadata.find("ss_network_args");
  if (found == metadata.end() || found->second.empty())
    return Done{};
  std::string where = file + ": metadata 'ss_network_args'";
  Result<Json> arguments = parseJson(found->second, where);
  if (!arguments)
    return arguments.error();
  if (arguments->is_null())
    return Done{};
  if (!arguments->is_object())
    return Error{where + ": no JSON object"};
  auto rs = arguments->find("rs_lora");
  if (rs == arguments->end())
    return Done{};
  std::string value = rs->is_string() ? rs->get<std::string>() : rs->dump();
  std::transform(value.begin(), value.end(), value.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (value != "false" && value != "0" && value != "null" && value != "none")
    return Error{where + ": rs_lora is '" + value +
                 "': a scale of alpha / sqrt(r), which is not supported in such "
                 "files; convert the LoRA to PEFT's format (use_rslora)"};
  return Done{};
}

} // namespace

bool isKohya(const Safetensors &tensors) {
  return std::any_of(tensors.tensors.begin(), tensors.tensors.end(), [](const Tensor &tensor) {
    const auto *prefix = prefixOf(tensor.key);
    size_t dot = tensor.key.find('.');
    return prefix && dot != std::string::npos && dot > std::string(prefix->first).size();
  });
}

Status readKohya(const std::string &file, const Safetensors &tensors, Adapter &adapter) {
  if (Status status = checkMetadata(file, tensors.metadata); !status)
    return status;
  std::map<std::string, Module> modules;
  for (const Tensor &tensor : tensors.tensors)
    if (Status status = place(file, tensor, modules); !status)
      return status;
  std::map<std::pair<std::string, std::string>, std::string> seen;
  for (const auto &[name, module] : modules) {
    auto [other, isNew] = seen.emplace(std::pair(module.part, module.path), name);
    if (!isNew)
      return Error{file + ": '" + name + "' and '" + other->second + "' are the same module"};
    Result<Update> update = lowRankUpdate(file, module.path, module.parts);
    if (!update)
      return update.error();
    update->flattened = true;
    update->part = module.part;
    adapter.updates.push_back(std::move(*update));
  }
  return Done{};
}

} // namespace adapter::checkpoint
