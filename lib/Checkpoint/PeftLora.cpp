// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// PEFT's LoRA and what travels with it: DoRA, biases of the factors, token rows. Follows peft/tuners/lora of
// PEFT 0.21.
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/PeftReader.h"
#include <algorithm>
#include <cmath>
#include <cstring>

namespace adapter::checkpoint {

namespace {

const std::set<std::string> known = {"alpha_pattern",
                                     "corda_config",
                                     "ensure_weight_tying",
                                     "eva_config",
                                     "init_lora_weights",
                                     "loftq_config",
                                     "lora_alpha",
                                     "lora_bias",
                                     "lora_dropout",
                                     "lora_ga_config",
                                     "megatron_core",
                                     "monteclora_config",
                                     "qalora_group_size",
                                     "r",
                                     "rank_pattern",
                                     "trainable_token_indices",
                                     "use_dora",
                                     "use_rslora",
                                     "velora_config"};

const std::map<std::string, const char *> refused = {
    {"layer_replication", "it repeats layers of the base; export a base whose layers are repeated already"},
    {"alora_invocation_tokens", "an activated LoRA acts on a part of the tokens only; train a plain LoRA"},
    {"use_qalora", "train a plain LoRA"},
    {"use_bdlora", "expand the block-diagonal factors to plain ones before saving"},
    {"arrow_config", "routing between adapters by Arrow; save the adapters one by one"},
    {"kasa_config", "it changes the base weights; merge the adapter in PEFT"},
    {"target_parameters", "LoRA on parameters outside of layers; merge the adapter in PEFT"},
    {"megatron_config", "convert the adapter to the layers of Transformers"}};

class LoraReader final : public PeftReader {
public:
  using PeftReader::PeftReader;

private:
  std::vector<Place> places() const override {
    return {{".lora_A.weight", "A"},
            {".lora_B.weight", "B"},
            {".lora_B.bias", "bias"},
            {".lora_magnitude_vector", "magnitude"},
            {".lora_magnitude_vector.weight", "magnitude"},
            {".lora_embedding_A", "embeddingA"},
            {".lora_embedding_B", "embeddingB"},
            {".token_adapter.trainable_tokens_delta", "rows"}};
  }
  const std::set<std::string> &knownFields() const override { return known; }
  const std::map<std::string, const char *> &refusedFields() const override { return refused; }
  Status checkMethod() const override;
  Status readTuned(const std::string &path, const Module &module) override;
  Status readLora(const std::string &path, const Module &module);
  Status readRows(const std::string &path, const Module &module);
  Status scaleOf(const std::string &path, int64_t rank, const Tensor &a, double &scale) const;
};

Status LoraReader::checkMethod() const {
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
  return Done{};
}

// rank and scale as PEFT's update_layer computes them.
Status LoraReader::scaleOf(const std::string &path, int64_t rank, const Tensor &a, double &scale) const {
  Result<double> r = config.number("r", 8), alpha = config.number("lora_alpha", 8);
  if (!r)
    return r.error();
  if (!alpha)
    return alpha.error();
  Result<std::vector<double>> ranks = config.pattern("rank_pattern", path, *r),
                              alphas = config.pattern("alpha_pattern", path, *alpha);
  Result<bool> stabilised = config.boolean("use_rslora");
  if (!ranks)
    return ranks.error();
  if (!alphas)
    return alphas.error();
  if (!stabilised)
    return stabilised.error();
  if (std::find(ranks->begin(), ranks->end(), static_cast<double>(rank)) == ranks->end())
    return wrong(a, "has shape " + shapeText(a.shape) + ", rank " + std::to_string(rank) + ", but " +
                        config.path() + " (r, rank_pattern) says " + Json(ranks->back()).dump());
  if (std::count(alphas->begin(), alphas->end(), alphas->back()) != static_cast<int64_t>(alphas->size()))
    return config.error("alpha_pattern", "has a key before the one for '" + path +
                                             "' that cannot be read as a regular expression here and may "
                                             "match; write the module's path in full");
  scale = alphas->back() / (*stabilised ? std::sqrt(static_cast<double>(rank)) : static_cast<double>(rank));
  if (!std::isfinite(scale))
    return config.error("lora_alpha", "gives no finite scale");
  return Done{};
}

Status LoraReader::readLora(const std::string &path, const Module &module) {
  bool embedding = module.role("embeddingA") || module.role("embeddingB");
  if ((module.role("A") || module.role("B")) && embedding)
    return Error{file + ": module '" + path + "' has factors of a linear layer and of an embedding"};
  const Tensor *a = module.role(embedding ? "embeddingA" : "A");
  const Tensor *b = module.role(embedding ? "embeddingB" : "B");
  const Tensor *biasDelta = module.role("bias"), *length = module.role("magnitude");
  if (!a || !b)
    return wrong(a ? *a : *b,
                 std::string("has no counterpart lora_") + (embedding ? "embedding_" : "") + (a ? "B" : "A"));
  Result<std::string> reason = whyNotTarget(path, module);
  if (!reason)
    return reason.error();
  // With tied weights PEFT writes the head's factors too, but lists the embedding alone.
  Result<bool> tying = config.boolean("ensure_weight_tying");
  if (!tying)
    return tying.error();
  if (!reason->empty() && !*tying)
    return wrong(*a, "does not fit its configuration: " + *reason);

  bool convolution = a->shape.size() > 2;
  // PEFT's B beside a grouped convolution has the groups, its A has not: their product mixes what the groups keep apart.
  if (convolution && b->shape.size() == a->shape.size() && b->shape[1] > 0 && b->shape[1] < a->shape[0] &&
      a->shape[0] % b->shape[1] == 0)
    return wrong(*b, "has shape " + shapeText(b->shape) + " for rank " + std::to_string(a->shape[0]) +
                         ": LoRA beside a convolution of " + std::to_string(a->shape[0] / b->shape[1]) +
                         " groups, which no weight of such a convolution can hold (PEFT does not merge it "
                         "either); not supported, train the adapter without this module (exclude_modules)");
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
  if (*dora && !length)
    return config.error("use_dora",
                        "is true, but " + file + " has no lora_magnitude_vector for '" + path + "'");
  if (!*dora && length)
    return wrong(*length, "is there, but use_dora is not true in " + config.path());
  if (*biased && !embedding && !biasDelta)
    return config.error("lora_bias", "is true, but " + file + " has no lora_B.bias for '" + path + "'");
  if (!*biased && biasDelta)
    return wrong(*biasDelta, "is there, but lora_bias is not true in " + config.path());

  std::string form = embedding ? "lora_embedding" : convolution ? "lora_conv" : "lora";
  Update &update = add(path, "weight", form + (*dora ? "+dora" : ""));
  update.scale = scale;
  update.rank = rank;
  update.transposed = *transposed && !embedding && !convolution;
  update.tensors["A"] = *a;
  update.tensors["B"] = *b;
  if (*dora) {
    Tensor magnitude = *length;
    if (magnitude.elements() != out)
      return wrong(magnitude, "has shape " + shapeText(magnitude.shape) + "; expected " +
                                  std::to_string(out) + " values, one per output");
    magnitude.shape = {out};
    update.tensors["magnitude"] = std::move(magnitude);
  }
  return Done{};
}

Status LoraReader::readRows(const std::string &path, const Module &module) {
  const Tensor &rows = *module.role("rows");
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
  int64_t owners = std::count_if(modules.begin(), modules.end(),
                                 [](const auto &each) { return each.second.role("rows"); });
  Update &update = add(path, "weight", "rows");
  update.tied = sameEverywhere && owners == 1;
  update.tensors["indices"] = std::move(indices);
  update.tensors["rows"] = std::move(sorted);
  return Done{};
}

Status LoraReader::readTuned(const std::string &path, const Module &module) {
  bool hasLora =
      module.role("A") || module.role("B") || module.role("embeddingA") || module.role("embeddingB");
  const Tensor *biasDelta = module.role("bias");
  for (const Tensor *rest : {module.role("magnitude"), biasDelta})
    if (rest && !hasLora)
      return wrong(*rest, "has no lora_A and lora_B beside it");
  if (hasLora)
    if (Status status = readLora(path, module); !status)
      return status;
  if (module.role("rows"))
    if (Status status = readRows(path, module); !status)
      return status;
  if (!biasDelta)
    return Done{};
  const Update &lora = adapter.updates.back();
  if (module.role("rows") || lora.tensors.at("B").shape[0] != biasDelta->elements())
    return wrong(*biasDelta, "has shape " + shapeText(biasDelta->shape) + "; expected [" +
                                 std::to_string(lora.tensors.at("B").shape[0]) + "]");
  double scale = lora.scale;
  Update &update = add(path, "bias", "add");
  update.scale = scale;
  update.tensors["value"] = *biasDelta;
  return Done{};
}

} // namespace

Status readPeftLora(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
                    Adapter &adapter) {
  return LoraReader(config, file, adapter).run(tensors);
}

} // namespace adapter::checkpoint
