// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// PEFT's LoRA and what travels with it: DoRA, biases of the factors, token rows. Follows peft/tuners/lora of
// PEFT 0.21.
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/LoraVariants.h"
#include "lib/Checkpoint/PeftReader.h"
#include "lib/Checkpoint/Regex.h"
#include "lib/Checkpoint/Text.h"
#include <algorithm>
#include <cmath>

namespace adapter::checkpoint {

namespace {

const std::set<std::string> known = {"alpha_pattern",
                                     "corda_config",
                                     "ensure_weight_tying",
                                     "eva_config",
                                     "init_lora_weights",
                                     "kasa_config",
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
                                     "use_bdlora",
                                     "use_dora",
                                     "use_qalora",
                                     "use_rslora",
                                     "velora_config"};

const std::map<std::string, const char *> refused = {
    {"layer_replication", "it repeats layers of the base; export a base whose layers are repeated already"},
    {"alora_invocation_tokens", "an activated LoRA acts on a part of the tokens only; train a plain LoRA"},
    {"arrow_config", "routing between adapters by Arrow; save the adapters one by one"},
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
            {".lora_diag", "diagonal"},
            // Of training alone.
            {".lora_velora_embed", "unused"},
            {".lora_monteclora_sampler.*", "unused"},
            {".lora_embedding_A", "embeddingA"},
            {".lora_embedding_B", "embeddingB"},
            {".token_adapter.trainable_tokens_delta", "rows"}};
  }
  const std::set<std::string> &knownFields() const override { return known; }
  const std::map<std::string, const char *> &refusedFields() const override { return refused; }
  Status checkMethod() const override;
  Status readTuned(const std::string &path, const Module &module) override;
  Status readLora(const std::string &path, const Module &module);
  bool isTied(const Tensor &table) const;
  Status checkFactors(const std::string &path, const Module &module, const Tensor &a, const Tensor &b,
                      bool embedding) const;
  Status checkCompanions(const std::string &path, const Module &module, bool embedding) const;
  std::string attentionOf(const std::string &path) const;
  Status setAttention(const std::string &attention, const std::string &path, Update &update) const;
  Status readRows(const std::string &path, const Module &module);
  Status scaleOf(const std::string &path, int64_t rank, const Tensor &a, double &scale) const;
};

Status LoraReader::checkMethod() const {
  // Of lora_ga PEFT's file is applied to the base as it is, and so it is here.
  const std::set<std::string> kinds = {"",     "gaussian", "eva",   "orthogonal",
                                       "mica", "lora_ga",  "pissa", "olora"};
  std::string init = initialization(config);
  if (!kinds.count(init))
    return config.error("init_lora_weights",
                        "is '" + init +
                            "', which changes the base weights by data that the file does not hold; save the "
                            "adapter as a plain LoRA: save_pretrained(..., "
                            "path_initial_model_for_weight_conversion=...)");
  if ((init == "pissa" || init == "olora") && config.isSet("kasa_config"))
    return config.error("kasa_config",
                        "is set beside init_lora_weights '" + init + "', which is not supported");
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

// The factors' shapes, and whether the configuration lets them be there.
Status LoraReader::checkFactors(const std::string &path, const Module &module, const Tensor &a,
                                const Tensor &b, bool embedding) const {
  Result<std::string> reason = whyNotTarget(path, module);
  if (!reason)
    return reason.error();
  // With tied weights PEFT writes the head's factors too, but lists the embedding alone.
  Result<bool> tying = config.boolean("ensure_weight_tying");
  if (!tying)
    return tying.error();
  if (!reason->empty() && !*tying)
    return wrong(a, "does not fit its configuration: " + *reason);

  bool convolution = a.shape.size() > 2;
  // PEFT's B beside a grouped convolution has the groups, its A has not: their product mixes what the groups keep apart.
  if (convolution && b.shape.size() == a.shape.size() && b.shape[1] > 0 && b.shape[1] < a.shape[0] &&
      a.shape[0] % b.shape[1] == 0)
    return wrong(b, "has shape " + shapeText(b.shape) + " for rank " + std::to_string(a.shape[0]) +
                        ": LoRA beside a convolution of " + std::to_string(a.shape[0] / b.shape[1]) +
                        " groups, which no weight of such a convolution can hold (PEFT does not merge it "
                        "either); not supported, train the adapter without this module (exclude_modules)");
  if (a.shape.size() < 2 || b.shape.size() != a.shape.size() || (embedding && convolution) ||
      a.shape[0] != b.shape[1])
    return wrong(b, "has shape " + shapeText(b.shape) + ", which does not fit the shape " +
                        shapeText(a.shape) + " of '" + a.key + "'");
  for (size_t i = 2; i < b.shape.size(); ++i)
    if (b.shape[i] != 1)
      return wrong(b, "has shape " + shapeText(b.shape) + "; expected [out, rank, 1...]");
  return Done{};
}

// What stands beside the factors is what the configuration says.
Status LoraReader::checkCompanions(const std::string &path, const Module &module, bool embedding) const {
  const Tensor *biasDelta = module.role("bias"), *length = module.role("magnitude");
  Result<bool> dora = config.boolean("use_dora"), biased = config.boolean("lora_bias");
  if (!dora)
    return dora.error();
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
  return Done{};
}

// The torch.nn.MultiheadAttention that a path means: itself, or the one that it is the out_proj of. PEFT adapts both of
// its weights or none, so that factors of the second tell a MultiheadAttention from a linear.
std::string LoraReader::attentionOf(const std::string &path) const {
  const std::string output = ".base_layer.out_proj";
  std::string owner = endsWith(path, output) ? path.substr(0, path.size() - output.size()) : path;
  for (const std::string &part : {owner, owner + output})
    if (auto it = modules.find(part); it == modules.end() || !it->second.role("A"))
      return "";
  return owner;
}

// Of a MultiheadAttention: `update` is that of in_proj_weight [3 d, d], the three projections one behind the other, or
// that of out_proj. PEFT adds the latter twice, in its forward pass as in merging (MultiheadAttention.merge, then the
// merge of the linear in it), up to 0.21 at least; what was trained that way is right only that way.
Status LoraReader::setAttention(const std::string &attention, const std::string &path, Update &update) const {
  const Tensor &a = update.tensors.at("A"), &b = update.tensors.at("B");
  for (const char *field : {"use_dora", "lora_bias", "fan_in_fan_out"})
    if (config.isSet(field))
      return config.error(field,
                          "is true, which is not supported beside '" + attention + "', a MultiheadAttention");
  if (path != attention) {
    Result<std::string> version = config.text("peft_version");
    if (!version)
      return version.error();
    if (regexMatches("0\\.(2[2-9]|[3-9]\\d|\\d{3,})\\..*|[1-9].*", *version).value_or(false))
      return config.error("peft_version", "is '" + *version +
                                              "'; up to 0.21 PEFT applies the LoRA of a MultiheadAttention's "
                                              "out_proj ('" +
                                              a.key + "') twice, of later versions this is not known");
    update.module = attention;
    update.parameter = "out_proj.weight";
    update.scale *= 2;
  } else {
    update.parameter = "in_proj_weight";
    if (a.shape.size() != 2 || b.shape[0] % 3 || b.shape[0] / 3 != a.shape[1])
      return wrong(b, "has shape " + shapeText(b.shape) + "; expected [" + std::to_string(3 * a.shape[1]) +
                          ", " + std::to_string(a.shape[0]) + "] for a MultiheadAttention");
  }
  return Done{};
}

// Whether the output head follows a table, whose factor [r, vocabulary] this is: where weights are tied and no module has
// factors of a head's shape, which PEFT writes.
bool LoraReader::isTied(const Tensor &table) const {
  bool hasHead = std::any_of(modules.begin(), modules.end(), [&](const auto &each) {
    const Tensor *up = each.second.role("B");
    return up && up->shape.size() == 2 && up->shape[0] == table.shape[1];
  });
  return config.isSet("ensure_weight_tying") && !hasHead;
}

Status LoraReader::readLora(const std::string &path, const Module &module) {
  bool embedding = module.role("embeddingA") || module.role("embeddingB");
  if ((module.role("A") || module.role("B")) && embedding)
    return Error{file + ": module '" + path + "' has factors of a linear layer and of an embedding"};
  const Tensor *given = module.role(embedding ? "embeddingA" : "A");
  const Tensor *other = module.role(embedding ? "embeddingB" : "B");
  if (!given || !other)
    return wrong(given ? *given : *other, std::string("has no counterpart lora_") +
                                              (embedding ? "embedding_" : "") + (given ? "B" : "A"));
  Tensor down = *given, up = *other;
  const Tensor *a = &down, *b = &up;
  if (Status status = expandFactors(config, path, down, up); !status)
    return Error{file + ": " + status.error().message};
  std::string attention = attentionOf(path), named = attention.empty() ? path : attention;
  if (Status status = checkFactors(named, modules.at(named), *a, *b, embedding); !status)
    return status;
  if (Status status = checkCompanions(path, module, embedding); !status)
    return status;
  Result<bool> transposed = config.boolean("fan_in_fan_out");
  if (!transposed)
    return transposed.error();
  bool convolution = a->shape.size() > 2;
  const Tensor *length = module.role("magnitude");
  Update &update = add(path, "weight", "lora");
  update.layer = embedding ? Layer::Embedding : Layer::Product;
  update.rank = a->shape[0];
  update.transposed = *transposed && !embedding && !convolution;
  update.tensors["A"] = *a;
  update.tensors["B"] = *b;
  if (length) {
    int64_t out = b->shape[0];
    Tensor magnitude = *length;
    if (magnitude.elements() != out)
      return wrong(magnitude, "has shape " + shapeText(magnitude.shape) + "; expected " +
                                  std::to_string(out) + " values, one per output");
    magnitude.shape = {out};
    update.tensors["magnitude"] = std::move(magnitude);
  }
  update.tied = embedding && isTied(*a);
  if (Status status = scaleOf(named, update.rank, *a, update.scale); !status)
    return status;
  if (Status status = takeBaseTerm(config, path, module.role("diagonal"), update); !status)
    return status;
  return attention.empty() ? Status(Done{}) : setAttention(attention, path, update);
}

Status LoraReader::readRows(const std::string &path, const Module &module) {
  // PEFT lets a tied output head follow the embedding, unless the two are given different indices. A head
  // with rows of its own is no follower.
  int64_t owners = std::count_if(modules.begin(), modules.end(),
                                 [](const auto &each) { return each.second.role("rows"); });
  Update &update = add(path, "weight", "rows");
  update.tied = owners == 1;
  return readTokenRows(config, file, path, *module.role("rows"), update);
}

Status LoraReader::readTuned(const std::string &path, const Module &module) {
  bool hasLora =
      module.role("A") || module.role("B") || module.role("embeddingA") || module.role("embeddingB");
  const Tensor *biasDelta = module.role("bias");
  for (const Tensor *rest : {module.role("magnitude"), biasDelta, module.role("diagonal")})
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
