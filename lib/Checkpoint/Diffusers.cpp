// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LoRAs of image models as diffusers saves them (pytorch_lora_weights.safetensors): keys begin with the part of the
// pipeline ("unet.", "text_encoder.", "transformer."), then come module and factor as in PEFT, or under the names of
// older versions:
//
//   <part>.<module>.lora_A.weight, .lora_B.weight, .lora_B.bias, .lora_magnitude_vector
//   <part>.<module>.lora.down.weight, .lora.up.weight;  .lora_linear_layer.down.weight, .up.weight
//   <part>.<block>.processor.<module>_lora.down.weight, .up.weight      <part> may be missing: the U-Net's
//   <part>.<module>.lora_down.weight, .lora_up.weight, .alpha           scale = alpha / r, without it 1
//
// Where the file's metadata has PEFT's configuration (lora_adapter_metadata, by part), PEFT's reader reads the part.
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Formats.h"
#include "lib/Checkpoint/LowRank.h"
#include "lib/Checkpoint/PeftConfig.h"
#include "lib/Checkpoint/Text.h"
#include <algorithm>
#include <set>

namespace adapter::checkpoint {

namespace {

const char *const metadataName = "lora_adapter_metadata";

struct Place {
  const char *end;
  const Tensor *LowRank::*role;
};
constexpr Place places[] = {{".lora_A.weight", &LowRank::down},
                            {".lora_B.weight", &LowRank::up},
                            {".lora_down.weight", &LowRank::down},
                            {".lora_up.weight", &LowRank::up},
                            {".lora.down.weight", &LowRank::down},
                            {".lora.up.weight", &LowRank::up},
                            {".lora_linear_layer.down.weight", &LowRank::down},
                            {".lora_linear_layer.up.weight", &LowRank::up},
                            {"_lora.down.weight", &LowRank::down},
                            {"_lora.up.weight", &LowRank::up},
                            {".lora_magnitude_vector", &LowRank::magnitude},
                            {".lora_magnitude_vector.weight", &LowRank::magnitude},
                            {".dora_scale", &LowRank::magnitude},
                            {".alpha", &LowRank::alpha}};

// "unet" of "unet.down_blocks...."; "" where there is none.
std::string partOf(const std::string &key) {
  // "diffusion_model" is what ComfyUI and trainers for it call the U-Net or transformer.
  static const std::set<std::string> parts = {"unet",           "transformer",    "transformer_2",
                                              "text_encoder",   "text_encoder_2", "text_encoder_3",
                                              "diffusion_model"};
  std::string first = key.substr(0, key.find('.'));
  return first.size() < key.size() && parts.count(first) ? first : "";
}

struct Module {
  LowRank parts;
  const Tensor *bias = nullptr; // of the factor that goes up
};

class DiffusersReader {
public:
  DiffusersReader(const std::string &file, Adapter &adapter) : file(file), adapter(adapter) {}
  Status run(const Safetensors &tensors);

private:
  Error wrong(const Tensor &tensor, const std::string &problem) const {
    return Error{file + ": tensor '" + tensor.key + "' " + problem};
  }
  Result<std::map<std::string, Json>> configs(const Safetensors &tensors) const;
  Status readConfigured(const std::string &part, const Json &config,
                        const std::vector<const Tensor *> &tensors);
  Status readPlain(const std::string &part, const std::vector<const Tensor *> &tensors);
  Status place(const std::string &path, const Tensor &tensor, std::map<std::string, Module> &modules) const;

  const std::string &file;
  Adapter &adapter;
};

} // namespace

// PEFT's configurations by part: {"unet.r": 4, "unet.lora_alpha": 8, ...}, without a part for a model saved alone.
Result<std::map<std::string, Json>> DiffusersReader::configs(const Safetensors &tensors) const {
  std::map<std::string, Json> result;
  auto found = tensors.metadata.find(metadataName);
  if (found == tensors.metadata.end())
    return result;
  std::string where = file + ": metadata '" + metadataName + "'";
  Result<Json> all = parseJson(found->second, where);
  if (!all)
    return all.error();
  if (!all->is_object())
    return Error{where + ": no JSON object"};
  for (const auto &[name, value] : all->items()) {
    std::string part = partOf(name);
    result[part][part.empty() ? name : name.substr(part.size() + 1)] = value;
  }
  return result;
}

Status DiffusersReader::readConfigured(const std::string &part, const Json &fields,
                                       const std::vector<const Tensor *> &tensors) {
  PeftConfig config(file + ": metadata '" + metadataName + "'" + (part.empty() ? "" : ", " + part), fields);
  Result<std::string> type = config.text("peft_type");
  if (!type)
    return type.error();
  if (!type->empty() && *type != "LORA")
    return config.error("peft_type", "is '" + *type + "', which is not supported in such files; LORA is");
  Safetensors own;
  for (const Tensor *tensor : tensors) {
    own.tensors.push_back(*tensor);
    own.tensors.back().key = tensor->key.substr(part.empty() ? 0 : part.size() + 1);
  }
  return readPeftLora(config, part.empty() ? file : file + " (" + part + ")", own, adapter);
}

Status DiffusersReader::place(const std::string &path, const Tensor &tensor,
                              std::map<std::string, Module> &modules) const {
  const std::string biasEnd = ".lora_B.bias", infix = ".processor.", output = ".to_out";
  auto put = [&](const Tensor *&held) -> Status {
    if (held)
      return wrong(tensor, "says the same as '" + held->key + "'");
    held = &tensor;
    return Done{};
  };
  if (endsWith(path, biasEnd) && path.size() > biasEnd.size())
    return put(modules[path.substr(0, path.size() - biasEnd.size())].bias);
  for (const Place &each : places) {
    std::string end = each.end;
    if (!endsWith(path, end) || path.size() <= end.size())
      continue;
    std::string module = path.substr(0, path.size() - end.size());
    if (size_t at = module.rfind(infix); end[0] == '_') {
      if (at == std::string::npos)
        continue;
      module.erase(at, infix.size() - 1);
      if (endsWith(module, output))
        module += ".0";
    }
    return put(modules[module].parts.*each.role);
  }
  return wrong(tensor,
               "has no place in a LoRA that diffusers saved; expected a part of the pipeline, a module "
               "and a factor as in unet.<module>.lora_A.weight");
}

Status DiffusersReader::readPlain(const std::string &part, const std::vector<const Tensor *> &tensors) {
  std::map<std::string, Module> modules;
  for (const Tensor *tensor : tensors)
    if (Status status = place(tensor->key.substr(part.empty() ? 0 : part.size() + 1), *tensor, modules);
        !status)
      return status;
  for (auto &[path, module] : modules) {
    // PEFT's magnitude of a convolution is [1, out, 1...].
    Tensor magnitude;
    if (const Tensor *given = module.parts.magnitude;
        given && given->key.find(".lora_") != std::string::npos) {
      magnitude = *given;
      if (magnitude.shape.size() > 2 && magnitude.shape[0] == 1)
        magnitude.shape.erase(magnitude.shape.begin());
      module.parts.magnitude = &magnitude;
    }
    if (!module.parts.down && !module.parts.up && module.bias)
      return wrong(*module.bias, "stands without the factors of the same module");
    Result<Update> update = lowRankUpdate(file, path, module.parts);
    if (!update)
      return update.error();
    int64_t out = update->tensors.at("B").shape[0];
    double scale = update->scale;
    adapter.updates.push_back(std::move(*update));
    if (!module.bias)
      continue;
    if (!isFloat(module.bias->dtype) || module.bias->shape != std::vector<int64_t>{out})
      return wrong(*module.bias, "is " + dtypeName(module.bias->dtype) + " " + shapeText(module.bias->shape) +
                                     "; expected floats " + shapeText({out}));
    Update bias;
    bias.module = path;
    bias.parameter = "bias";
    bias.form = "add";
    bias.scale = scale;
    bias.tensors["value"] = *module.bias;
    adapter.updates.push_back(std::move(bias));
  }
  return Done{};
}

Status DiffusersReader::run(const Safetensors &tensors) {
  Result<std::map<std::string, Json>> settings = configs(tensors);
  if (!settings)
    return settings.error();
  std::map<std::string, std::vector<const Tensor *>> parts;
  for (const Tensor &tensor : tensors.tensors)
    parts[partOf(tensor.key)].push_back(&tensor);
  for (const auto &[part, own] : parts) {
    size_t before = adapter.updates.size();
    auto config = settings->find(part);
    Status status =
        config == settings->end() ? readPlain(part, own) : readConfigured(part, config->second, own);
    if (!status)
      return status;
    for (size_t i = before; i < adapter.updates.size(); ++i)
      adapter.updates[i].part = part.empty() && config == settings->end() ? "unet" : part;
  }
  return Done{};
}

bool isDiffusers(const Safetensors &tensors) {
  return tensors.metadata.count(metadataName) ||
         std::any_of(tensors.tensors.begin(), tensors.tensors.end(), [](const Tensor &tensor) {
           bool isFactor = tensor.key.find(".lora") != std::string::npos ||
                           tensor.key.find("_lora.") != std::string::npos;
           return isFactor &&
                  (!partOf(tensor.key).empty() || tensor.key.find(".processor.") != std::string::npos);
         });
}

Status readDiffusers(const std::string &file, const Safetensors &tensors, Adapter &adapter) {
  return DiffusersReader(file, adapter).run(tensors);
}

} // namespace adapter::checkpoint
