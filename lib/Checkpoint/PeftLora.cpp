// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// PEFT's LoRA and what travels with it: DoRA, biases, saved modules, token rows. Follows
// peft/tuners/lora and peft/utils/save_and_load.py of PEFT 0.21; where PEFT skips a tensor or a setting
// with a warning or in silence, this is an error.
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/PeftConfig.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <set>

namespace adapter::checkpoint {

namespace {

// The tensors of one module, by their place in the file.
struct Module {
  const Tensor *a = nullptr, *b = nullptr, *biasDelta = nullptr, *magnitude = nullptr;
  const Tensor *embeddingA = nullptr, *embeddingB = nullptr, *rows = nullptr;
  std::map<std::string, const Tensor *> base;  // <module>.base_layer.<parameter>
  std::map<std::string, const Tensor *> saved; // <module>.modules_to_save.<parameter>
  std::map<std::string, const Tensor *> plain; // <module>.<parameter>

  bool hasLora() const { return a || b || embeddingA || embeddingB; }
};

bool strip(std::string &text, const std::string &end) {
  if (text.size() <= end.size() || text.compare(text.size() - end.size(), end.size(), end))
    return false;
  text.resize(text.size() - end.size());
  return true;
}

class Reader {
public:
  Reader(const PeftConfig &config, const std::string &file, Adapter &adapter)
      : config(config), file(file), adapter(adapter) {}
  Status run(const Safetensors &tensors);

private:
  Status checkFields() const;
  Status place(const Tensor &tensor);
  Status readModule(const std::string &path, const Module &module);
  Status readLora(const std::string &path, const Module &module);
  Status readRows(const std::string &path, const Module &module);
  Status checkPlain(const std::string &path, const std::string &parameter, const Module &module) const;
  Status scaleOf(const std::string &path, int64_t rank, const Tensor &a, double &scale) const;
  Error wrong(const Tensor &tensor, const std::string &problem) const {
    return Error{file + ": tensor '" + tensor.key + "' " + problem};
  }
  Update &add(const std::string &path, const std::string &parameter, const std::string &form) {
    Update update;
    update.module = path;
    update.parameter = parameter;
    update.form = form;
    adapter.updates.push_back(std::move(update));
    return adapter.updates.back();
  }

  const PeftConfig &config;
  const std::string &file;
  Adapter &adapter;
  std::map<std::string, Module> modules;
};

// Fields without a bearing on the result, and those that this reader obeys.
const std::set<std::string> knownFields = {"alpha_pattern",
                                           "auto_mapping",
                                           "base_model_name_or_path",
                                           "bias",
                                           "corda_config",
                                           "ensure_weight_tying",
                                           "eva_config",
                                           "exclude_modules",
                                           "fan_in_fan_out",
                                           "inference_mode",
                                           "init_lora_weights",
                                           "layers_pattern",
                                           "layers_to_transform",
                                           "loftq_config",
                                           "lora_alpha",
                                           "lora_bias",
                                           "lora_dropout",
                                           "lora_ga_config",
                                           "megatron_core",
                                           "modules_to_save",
                                           "monteclora_config",
                                           "peft_type",
                                           "peft_version",
                                           "qalora_group_size",
                                           "r",
                                           "rank_pattern",
                                           "revision",
                                           "runtime_config",
                                           "target_modules",
                                           "task_type",
                                           "trainable_token_indices",
                                           "use_dora",
                                           "use_rslora",
                                           "velora_config"};

// Fields that change the result in a way that is not supported, with what to do.
const std::map<std::string, const char *> refusedFields = {
    {"layer_replication", "it repeats layers of the base; export a base whose layers are repeated already"},
    {"alora_invocation_tokens", "an activated LoRA acts on a part of the tokens only; train a plain LoRA"},
    {"use_qalora", "train a plain LoRA"},
    {"use_bdlora", "expand the block-diagonal factors to plain ones before saving"},
    {"arrow_config", "routing between adapters by Arrow; save the adapters one by one"},
    {"kasa_config", "it changes the base weights; merge the adapter in PEFT"},
    {"target_parameters", "LoRA on parameters outside of layers; merge the adapter in PEFT"},
    {"megatron_config", "convert the adapter to the layers of Transformers"}};

Status Reader::checkFields() const {
  for (const auto &[name, value] : config.fields().items()) {
    if (!config.isSet(name))
      continue;
    if (auto it = refusedFields.find(name); it != refusedFields.end())
      return config.error(name, std::string("is not supported: ") + it->second);
    if (!knownFields.count(name))
      return config.error(name, "is unknown and may change the result; set it to null if it does not");
  }
  const Json &fields = config.fields();
  if (auto it = fields.find("init_lora_weights"); it != fields.end() && it->is_string()) {
    std::string init = it->get<std::string>();
    std::transform(init.begin(), init.end(), init.begin(), [](unsigned char c) { return std::tolower(c); });
    const std::set<std::string> harmless = {"gaussian", "eva", "orthogonal", "mica", "true", "false"};
    if (!harmless.count(init))
      return config.error("init_lora_weights",
                          "is '" + init +
                              "', which changes the base weights; save the adapter as a plain "
                              "LoRA: save_pretrained(..., "
                              "path_initial_model_for_weight_conversion=...)");
  }
  Result<std::string> bias = config.text("bias");
  if (!bias)
    return bias.error();
  if (!bias->empty() && *bias != "none" && *bias != "all" && *bias != "lora_only")
    return config.error("bias", "is '" + *bias + "'; expected none, all or lora_only");
  return Done{};
}

Status Reader::place(const Tensor &tensor) {
  if (!isFloat(tensor.dtype))
    return wrong(tensor, "is " + dtypeName(tensor.dtype) + "; expected float16, bfloat16 or float32");
  std::string path = tensor.key;
  const std::string prefix = "base_model.model.";
  if (path.rfind(prefix, 0) == 0)
    path.erase(0, prefix.size());
  const std::pair<const char *, const Tensor * Module::*> places[] = {
      {".lora_A.weight", &Module::a},
      {".lora_B.weight", &Module::b},
      {".lora_B.bias", &Module::biasDelta},
      {".lora_magnitude_vector", &Module::magnitude},
      {".lora_magnitude_vector.weight", &Module::magnitude},
      {".lora_embedding_A", &Module::embeddingA},
      {".lora_embedding_B", &Module::embeddingB},
      {".token_adapter.trainable_tokens_delta", &Module::rows},
  };
  for (const auto &[end, member] : places)
    if (strip(path, end)) {
      const Tensor *&slot = modules[path].*member;
      if (slot)
        return wrong(tensor, "says the same as '" + slot->key + "'");
      slot = &tensor;
      return Done{};
    }
  // What remains is a parameter of the base: <module>[.base_layer | .modules_to_save[.<adapter>]].<parameter>
  for (const char *mark : {".lora_", ".original_module.", ".token_adapter."})
    if (path.find(mark) != std::string::npos)
      return wrong(tensor, "has no place in a LoRA adapter");
  size_t dot = path.rfind('.');
  if (dot == std::string::npos || dot == 0 || dot + 1 == path.size())
    return wrong(tensor, "has no place: its name has no module path");
  std::string parameter = path.substr(dot + 1);
  path.resize(dot);
  const std::string infix = ".modules_to_save";
  if (size_t at = path.find(infix + "."); at != std::string::npos) {
    // A saved module may hold modules of its own behind the adapter's name.
    size_t inner = path.find('.', at + infix.size() + 1);
    path = path.substr(0, at) + (inner == std::string::npos ? "" : path.substr(inner));
    modules[path].saved[parameter] = &tensor;
  } else if (strip(path, infix)) {
    modules[path].saved[parameter] = &tensor;
  } else if (strip(path, ".base_layer")) {
    modules[path].base[parameter] = &tensor;
  } else {
    modules[path].plain[parameter] = &tensor;
  }
  return Done{};
}

// rank and scale as PEFT's update_layer computes them.
Status Reader::scaleOf(const std::string &path, int64_t rank, const Tensor &a, double &scale) const {
  Result<double> r = config.number("r", 8), alpha = config.number("lora_alpha", 8);
  Result<std::optional<double>> patternRank = config.pattern("rank_pattern", path),
                                patternAlpha = config.pattern("alpha_pattern", path);
  Result<bool> stabilised = config.boolean("use_rslora");
  if (!r)
    return r.error();
  if (!alpha)
    return alpha.error();
  if (!patternRank)
    return patternRank.error();
  if (!patternAlpha)
    return patternAlpha.error();
  if (!stabilised)
    return stabilised.error();
  double configured = patternRank->value_or(*r);
  if (configured != static_cast<double>(rank))
    return wrong(a, "has shape " + shapeText(a.shape) + ", rank " + std::to_string(rank) + ", but " +
                        config.path() + " (r, rank_pattern) says " + Json(configured).dump());
  scale = patternAlpha->value_or(*alpha) / (*stabilised ? std::sqrt(configured) : configured);
  if (!std::isfinite(scale))
    return config.error("lora_alpha", "gives no finite scale");
  return Done{};
}

Status Reader::readLora(const std::string &path, const Module &module) {
  bool embedding = module.embeddingA || module.embeddingB;
  const Tensor *a = embedding ? module.embeddingA : module.a, *b = embedding ? module.embeddingB : module.b;
  if ((module.a || module.b) && embedding)
    return Error{file + ": module '" + path + "' has factors of a linear layer and of an embedding"};
  if (!a || !b)
    return wrong(a ? *a : *b,
                 std::string("has no counterpart lora_") + (embedding ? "embedding_" : "") + (a ? "B" : "A"));
  Result<std::string> reason = config.whyNotTarget(path);
  if (!reason)
    return reason.error();
  // With tied weights PEFT writes the head's factors too, but lists the embedding alone.
  Result<bool> tying = config.boolean("ensure_weight_tying");
  if (!tying)
    return tying.error();
  if (!reason->empty() && !*tying)
    return wrong(*a, "does not fit its configuration: " + *reason);

  bool convolution = a->shape.size() > 2;
  if (a->shape.size() < 2 || b->shape.size() != a->shape.size() || (embedding && convolution) ||
      a->shape[0] != b->shape[1])
    return wrong(*b, "has shape " + shapeText(b->shape) + ", which does not fit the shape " +
                         shapeText(a->shape) + " of '" + a->key + "'");
  for (size_t i = 2; i < b->shape.size(); ++i)
    if (b->shape[i] != 1)
      return wrong(*b, "has shape " + shapeText(b->shape) + "; expected [out, rank, 1...]");
  int64_t rank = a->shape[0], out = b->shape[0];
  double scale = 0;
  if (Status status = scaleOf(path, rank, *a, scale); !status)
    return status;
  Result<bool> dora = config.boolean("use_dora"), transposed = config.boolean("fan_in_fan_out"),
               biased = config.boolean("lora_bias");
  if (!dora)
    return dora.error();
  if (!transposed)
    return transposed.error();
  if (!biased)
    return biased.error();
  if (*dora && !module.magnitude)
    return config.error("use_dora",
                        "is true, but " + file + " has no lora_magnitude_vector for '" + path + "'");
  if (!*dora && module.magnitude)
    return wrong(*module.magnitude, "is there, but use_dora is not true in " + config.path());
  if (*biased && !embedding && !module.biasDelta)
    return config.error("lora_bias", "is true, but " + file + " has no lora_B.bias for '" + path + "'");
  if (!*biased && module.biasDelta)
    return wrong(*module.biasDelta, "is there, but lora_bias is not true in " + config.path());

  std::string form = embedding ? "lora_embedding" : convolution ? "lora_conv" : "lora";
  Update &update = add(path, "weight", form + (*dora ? "+dora" : ""));
  update.scale = scale;
  update.rank = rank;
  update.transposed = *transposed && !embedding && !convolution;
  update.tensors["A"] = *a;
  update.tensors["B"] = *b;
  if (*dora) {
    Tensor magnitude = *module.magnitude;
    if (magnitude.elements() != out)
      return wrong(magnitude, "has shape " + shapeText(magnitude.shape) + "; expected " +
                                  std::to_string(out) + " values, one per output");
    magnitude.shape = {out};
    update.tensors["magnitude"] = std::move(magnitude);
  }
  return Done{};
}

Status Reader::readRows(const std::string &path, const Module &module) {
  const Tensor &rows = *module.rows;
  const Json &fields = config.fields();
  if (!config.isSet("trainable_token_indices"))
    return wrong(rows, "is there, but trainable_token_indices is not set in " + config.path());
  const Json &setting = fields.at("trainable_token_indices");
  const Json *list = setting.is_array() ? &setting : nullptr;
  bool sameEverywhere = true;
  if (setting.is_object())
    for (const auto &[name, value] : setting.items()) {
      bool ends =
          path.size() >= name.size() && path.compare(path.size() - name.size(), name.size(), name) == 0;
      if (!list && ends)
        list = &value;
      sameEverywhere &= value == *setting.begin();
    }
  if (!list || !list->is_array())
    return config.error("trainable_token_indices", "has no list of indices for '" + path + "'");
  int64_t count = static_cast<int64_t>(list->size());
  if (rows.shape.size() != 2 || rows.shape[0] != count)
    return wrong(rows, "has shape " + shapeText(rows.shape) + ", but trainable_token_indices has " +
                           std::to_string(count) + " indices");
  std::map<int64_t, int64_t> order; // index -> row
  for (int64_t i = 0; i < count; ++i) {
    const Json &index = (*list)[i];
    if (!index.is_number_unsigned() || index.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX) ||
        !order.emplace(static_cast<int64_t>(index.get<uint64_t>()), i).second)
      return config.error("trainable_token_indices",
                          "holds an index that is negative, no integer or there twice");
  }
  Tensor indices = allocateTensor(DType::I64, {count}), sorted = allocateTensor(rows.dtype, rows.shape);
  indices.key = rows.key + " (indices)";
  sorted.key = rows.key;
  size_t rowBytes = rows.bytes / count, next = 0;
  for (const auto &[index, row] : order) {
    std::memcpy(mutableData(indices) + next * 8, &index, 8);
    std::memcpy(mutableData(sorted) + next * rowBytes, rows.data + row * rowBytes, rowBytes);
    ++next;
  }
  // PEFT lets a tied output head follow the embedding, unless the two are given different indices. A head
  // with rows of its own is no follower.
  int64_t owners =
      std::count_if(modules.begin(), modules.end(), [](const auto &each) { return each.second.rows; });
  Update &update = add(path, "weight", "rows");
  update.tied = sameEverywhere && owners == 1;
  update.tensors["indices"] = std::move(indices);
  update.tensors["rows"] = std::move(sorted);
  return Done{};
}

// Whether the configuration explains a whole parameter of the base. PEFT would load any.
Status Reader::checkPlain(const std::string &path, const std::string &parameter, const Module &module) const {
  const Tensor &tensor = *module.plain.at(parameter);
  Result<bool> saved = config.isSaved(path);
  if (!saved)
    return saved.error();
  Result<std::string> bias = config.text("bias");
  // Embeddings and heads are saved along whole when they are adapted or the vocabulary was resized, also
  // under names that the configuration does not list.
  bool table = module.plain.count("weight") && module.plain.at("weight")->shape.size() == 2;
  if (*saved || (parameter == "weight" && table) || (parameter == "bias" && table) ||
      (parameter == "bias" && (*bias == "all" || (*bias == "lora_only" && module.hasLora()))))
    return Done{};
  return wrong(tensor, "has no place: neither modules_to_save nor bias in " + config.path() + " explains it");
}

Status Reader::readModule(const std::string &path, const Module &module) {
  // Whole parameters come first; low-rank updates act on them.
  std::map<std::string, const Tensor *> whole = module.base;
  for (const auto *more : {&module.saved, &module.plain})
    for (const auto &[parameter, tensor] : *more)
      if (!whole.emplace(parameter, tensor).second)
        return wrong(*tensor, "says the same as '" + whole[parameter]->key + "'");
  for (const auto &[parameter, tensor] : module.plain)
    if (Status status = checkPlain(path, parameter, module); !status)
      return status;
  for (const auto &[parameter, tensor] : whole)
    add(path, parameter, "replace").tensors["value"] = *tensor;
  if (module.magnitude && !module.hasLora())
    return wrong(*module.magnitude, "has no lora_A and lora_B beside it");
  if (module.biasDelta && !module.hasLora())
    return wrong(*module.biasDelta, "has no lora_A and lora_B beside it");
  if (module.hasLora())
    if (Status status = readLora(path, module); !status)
      return status;
  if (module.rows)
    if (Status status = readRows(path, module); !status)
      return status;
  if (module.biasDelta) {
    const Update &lora = adapter.updates.back();
    if (module.rows || lora.tensors.at("B").shape[0] != module.biasDelta->elements())
      return wrong(*module.biasDelta, "has shape " + shapeText(module.biasDelta->shape) + "; expected [" +
                                          std::to_string(module.b->shape[0]) + "]");
    double scale = lora.scale;
    Update &update = add(path, "bias", "add");
    update.scale = scale;
    update.tensors["value"] = *module.biasDelta;
  }
  return Done{};
}

Status Reader::run(const Safetensors &tensors) {
  if (Status status = checkFields(); !status)
    return status;
  for (const Tensor &tensor : tensors.tensors)
    if (Status status = place(tensor); !status)
      return status;
  for (const auto &[path, module] : modules)
    if (Status status = readModule(path, module); !status)
      return status;
  return Done{};
}

} // namespace

Status readPeftLora(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
                    Adapter &adapter) {
  return Reader(config, file, adapter).run(tensors);
}

} // namespace adapter::checkpoint
