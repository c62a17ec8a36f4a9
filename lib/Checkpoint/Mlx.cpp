// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Folders of Apple's mlx-lm (mlx_lm.lora): adapter_config.json with the training's arguments, and adapters.safetensors,
//
//   <linear>.lora_a [in, r], .lora_b [r, out]          y += scale * (x lora_a) lora_b;  with .m [out] DoRA
//   <embedding>.lora_a [vocabulary, r], .lora_b [r, dim]
//
// scale is lora_parameters.scale itself. With fine_tune_type "full" the tensors are whole parameters.
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Formats.h"
#include "lib/Checkpoint/LowRank.h"
#include "lib/Checkpoint/Text.h"
#include <cmath>
#include <set>

namespace adapter::checkpoint {

namespace {

// Arguments of training, which have no bearing on the result.
const std::set<std::string> idleFields = {"adapter_path",
                                          "batch_size",
                                          "clear_cache_threshold",
                                          "config",
                                          "data",
                                          "fine_tune_type",
                                          "grad_accumulation_steps",
                                          "grad_checkpoint",
                                          "hf_dataset",
                                          "iters",
                                          "learning_rate",
                                          "lora_layers",
                                          "lora_parameters",
                                          "lr_schedule",
                                          "mask_prompt",
                                          "max_seq_length",
                                          "model",
                                          "num_layers",
                                          "optimizer",
                                          "optimizer_config",
                                          "project_name",
                                          "prompt_feature",
                                          "report_to",
                                          "resume_adapter_file",
                                          "save_every",
                                          "seed",
                                          "steps_per_eval",
                                          "steps_per_report",
                                          "test",
                                          "test_batches",
                                          "train",
                                          "use_dora",
                                          "val_batches",
                                          "wandb"};

class MlxReader {
public:
  MlxReader(const PeftConfig &config, const std::string &file, Adapter &adapter)
      : config(config), file(file), adapter(adapter) {}
  Status run(const Safetensors &tensors);

private:
  Error wrong(const Tensor &tensor, const std::string &problem) const {
    return Error{file + ": tensor '" + tensor.key + "' " + problem};
  }
  Status checkFields();
  Status readFull(const Tensor &tensor);
  Status readModule(const std::string &module, const LowRank &parts);

  const PeftConfig &config;
  const std::string &file;
  Adapter &adapter;
  std::string type; // "lora", "dora" or "full"
  double rank = 0, scale = 0;
};

// mlx-lm puts the same names beside linears and embeddings.
bool isEmbedding(const std::string &module) {
  std::string last = module.substr(module.rfind('.') + 1);
  return last.find("embed") != std::string::npos || last == "wte" || last == "wpe";
}

} // namespace

Status MlxReader::checkFields() {
  for (const auto &[name, value] : config.fields().items())
    if (config.isSet(name) && !idleFields.count(name))
      return config.error(name, "is unknown and may change the result; set it to null if it does not");
  Result<std::string> tuned = config.text("fine_tune_type"), model = config.text("model");
  Result<bool> dora = config.boolean("use_dora");
  if (!tuned)
    return tuned.error();
  if (!model)
    return model.error();
  if (!dora)
    return dora.error();
  adapter.baseModel = *model;
  type = tuned->empty() ? (*dora ? "dora" : "lora") : *tuned;
  if (type == "full")
    return Done{};
  if (type != "lora" && type != "dora")
    return config.error("fine_tune_type", "is '" + type + "'; expected lora, dora or full");
  if (!config.fields().contains("lora_parameters") || !config.fields().at("lora_parameters").is_object())
    return config.error("lora_parameters", "is missing or not a dictionary");
  PeftConfig parameters = config.part("lora_parameters");
  for (const auto &[name, value] : parameters.fields().items())
    if (name != "rank" && name != "scale" && name != "dropout" && name != "keys" && parameters.isSet(name))
      return config.error("lora_parameters." + name,
                          name == "alpha" ? "is set: older versions of mlx-lm multiply the scale by alpha / "
                                            "rank, newer ones do not; write what is meant into "
                                            "lora_parameters.scale and leave alpha out"
                                          : "is unknown and may change the result");
  Result<double> r = parameters.number("rank", 0), factor = parameters.number("scale", NAN);
  if (!r)
    return r.error();
  if (!factor)
    return factor.error();
  if (!std::isfinite(*factor))
    return config.error("lora_parameters.scale", "is missing or not a finite number");
  rank = *r;
  scale = *factor;
  return Done{};
}

Status MlxReader::readFull(const Tensor &tensor) {
  Result<Update> update = replacement(file, tensor);
  if (!update)
    return update.error();
  adapter.updates.push_back(std::move(*update));
  return Done{};
}

Status MlxReader::readModule(const std::string &module, const LowRank &parts) {
  bool embedding = isEmbedding(module);
  if (parts.magnitude && (type != "dora" || embedding))
    return wrong(*parts.magnitude, embedding
                                       ? "is DoRA's of an embedding, whose rows mlx-lm norms one by "
                                         "one; not supported"
                                       : "is there, but fine_tune_type is not dora in " + config.path());
  Result<Update> update = transposedLowRankUpdate(file, module, parts);
  if (!update)
    return update.error();
  if (type == "dora" && !parts.magnitude)
    return wrong(*parts.down, "stands without '" + module + ".m', which fine_tune_type dora asks for");
  if (static_cast<double>(update->rank) != rank)
    return wrong(*parts.down, "has shape " + shapeText(parts.down->shape) + ", but lora_parameters.rank in " +
                                  config.path() + " is " + Json(rank).dump());
  update->scale = scale;
  if (embedding)
    update->layer = Layer::Embedding;
  adapter.updates.push_back(std::move(*update));
  return Done{};
}

Status MlxReader::run(const Safetensors &tensors) {
  if (Status status = checkFields(); !status)
    return status;
  const std::pair<std::string, const Tensor * LowRank::*> ends[] = {
      {".lora_a", &LowRank::down}, {".lora_b", &LowRank::up}, {".m", &LowRank::magnitude}};
  std::map<std::string, LowRank> modules;
  for (const Tensor &tensor : tensors.tensors) {
    bool placed = false;
    if (type == "full") {
      if (Status status = readFull(tensor); !status)
        return status;
      continue;
    }
    for (const auto &[end, role] : ends)
      if (endsWith(tensor.key, end) && tensor.key.size() > end.size()) {
        modules[tensor.key.substr(0, tensor.key.size() - end.size())].*role = &tensor;
        placed = true;
      }
    if (!placed)
      return wrong(tensor, "has no place: its name ends neither in .lora_a, .lora_b nor .m");
  }
  for (const auto &[module, parts] : modules)
    if (Status status = readModule(module, parts); !status)
      return status;
  return Done{};
}

bool isMlx(const PeftConfig &config) {
  return !config.fields().contains("peft_type") &&
         (config.fields().contains("lora_parameters") || config.fields().contains("fine_tune_type"));
}

Status readMlx(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
               Adapter &adapter) {
  return MlxReader(config, file, adapter).run(tensors);
}

} // namespace adapter::checkpoint
