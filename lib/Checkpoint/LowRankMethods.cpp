// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// PEFT's methods that add thin products. See FormReader.h.
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/FormReader.h"
#include "lib/Checkpoint/LoraVariants.h"
#include "lib/Checkpoint/Sparse.h"
#include "lib/Checkpoint/TorchRandom.h"
#include <cmath>
#include <cstring>

namespace adapter::checkpoint {

// PEFT keeps the rank that training began with, in the file as init_r.
static Status takeAdaLora(FormReader &reader, Update &update) {
  Result<double> alpha = reader.config.number("lora_alpha", 8), rank = reader.config.number("init_r", 12);
  if (!alpha || !rank)
    return alpha ? rank.error() : alpha.error();
  if (*rank < 1 || !std::isfinite(*alpha))
    return reader.config.error("init_r", "and lora_alpha give no scale");
  update.scale = (*alpha > 0 ? *alpha : *rank) / (*rank + 1e-5);
  return Done{};
}

// Each module has a copy of the tensors that all share.
static Status dropCopies(FormReader &reader, const FormReader::Module &module, Update &update) {
  for (const char *role : {"A", "B"}) {
    const Tensor *copy = module.role(std::string("copy_") + role);
    auto found = update.tensors.find(role);
    if (!copy)
      continue;
    if (found != update.tensors.end() &&
        (found->second.bytes != copy->bytes || std::memcmp(found->second.data, copy->data, copy->bytes)))
      return reader.wrong(*copy, "holds other numbers than '" + found->second.key + "'");
    update.tensors[role] = *copy;
    update.tensors.erase(std::string("copy_") + role);
  }
  return Done{};
}

// Which of PEFT's groups a module is in follows from its number among the modules that were adapted, and that shows in
// the random tensor that was drawn for it.
static Status takeTinyLora(FormReader &reader, const std::string &path, const FormReader::Module &module,
                           Update &update) {
  Result<double> tying = reader.config.number("weight_tying", 0),
                 seed = reader.config.number("projection_seed", 42);
  if (!tying || !seed)
    return tying ? seed.error() : tying.error();
  if (*tying < 0 || *tying > 1)
    return reader.config.error("weight_tying", "is not a number from 0 to 1");
  if (*seed != std::floor(*seed) || std::fabs(*seed) > 9e15)
    return reader.config.error("projection_seed", "is not a whole number");
  int64_t count = 0, number = 0;
  for (const auto &[name, each] : reader.modules)
    count += !each.tuned.empty();
  double groups = std::max(1.0, std::nearbyint(static_cast<double>(count) * (1.0 - *tying)));
  const Tensor *drawn = module.role("P");
  if (!drawn)
    return reader.wrong(*module.tuned.begin()->second,
                        "has no tinylora_P beside it; save with save_projection=True");
  if (groups > 1) {
    Result<Tensor> given = toF32(*drawn);
    if (!given)
      return given.error();
    const float *values = reinterpret_cast<const float *>(given->data);
    double spread = drawn->shape.empty() ? 1.0 : 1.0 / std::sqrt(static_cast<double>(drawn->shape.back()));
    auto isDrawnWith = [&](int64_t index) {
      std::vector<float> wanted =
          torchNormal(static_cast<uint64_t>(static_cast<int64_t>(*seed) + index), given->elements(), spread);
      for (size_t i = 0; i < wanted.size(); ++i)
        if (!(std::fabs(wanted[i] - values[i]) < 1e-5 * (1.0 + std::fabs(wanted[i]))))
          return false;
      return true;
    };
    while (number < count && !isDrawnWith(number))
      ++number;
    if (number == count)
      return reader.wrong(*drawn, "is not what projection_seed gives for any of the file's " +
                                      std::to_string(count) +
                                      " modules, so that it does not say which tinylora_v the module has");
  }
  int64_t size = std::max<int64_t>(1, count / static_cast<int64_t>(groups));
  int64_t group = std::min(number / size, static_cast<int64_t>(groups) - 1);
  return reader.takeShared("v", std::to_string(group), path, update);
}

// Which of two equal logits at the cut counts is torch's choice, and it does not say.
static Status takeVbLora(FormReader &reader, const FormReader::Module &module, Update &update) {
  if (Status status = reader.takeCount("topk", 2, "topk", update); !status)
    return status;
  auto kept = static_cast<size_t>(update.attributes["topk"]);
  for (const char *role : {"logits_A", "logits_B"}) {
    const Tensor *tensor = module.role(role);
    if (!tensor || tensor->shape.empty())
      continue;
    Result<Tensor> logits = toF32(*tensor);
    if (!logits)
      return logits.error();
    auto width = static_cast<size_t>(tensor->shape.back());
    const float *values = reinterpret_cast<const float *>(logits->data);
    for (int64_t row = 0; width > kept && row < tensor->elements() / static_cast<int64_t>(width); ++row) {
      std::vector<float> sorted(values + row * width, values + (row + 1) * width);
      std::sort(sorted.begin(), sorted.end(), std::greater<float>());
      if (sorted[kept - 1] == sorted[kept])
        return reader.wrong(*tensor, "has equal logits at the cut of topk in row " + std::to_string(row));
    }
  }
  return Done{};
}

static Status takeGraLora(FormReader &reader, const FormReader::Module &module, Update &update) {
  Result<double> alpha = reader.config.number("alpha", 64), r = reader.config.number("r", 32),
                 hybrid = reader.config.number("hybrid_r", 0);
  if (!alpha || !r || !hybrid)
    return !alpha ? alpha.error() : !r ? r.error() : hybrid.error();
  update.scale = *alpha / (*r + *hybrid);
  if (!std::isfinite(update.scale))
    return reader.config.error("alpha", "gives no finite scale");
  bool isGeneral = module.role("A_general") || module.role("B_general");
  if (isGeneral != (*hybrid > 0))
    return reader.wrong(*module.tuned.begin()->second,
                        "does not fit its configuration: hybrid_r says whether there are general factors");
  return Done{};
}

// The smallest directions of the weight are replaced by trained ones; their number shows in the file.
static Status takeOsf(FormReader &reader, const FormReader::Module &module, Update &update) {
  const Tensor *up = module.role("U"), *middle = module.role("S"), *down = module.role("V");
  if (!up || !middle || !down)
    return reader.wrong(*module.tuned.begin()->second, "has no U_low, S_low and V_low beside it");
  if (up->shape.size() != 2 || down->shape.size() != 2 || up->shape[1] != down->shape[0] ||
      middle->shape != std::vector<int64_t>{up->shape[1]})
    return reader.wrong(*middle, "has shape " + shapeText(middle->shape) + ", which does not fit " +
                                     shapeText(up->shape) + " and " + shapeText(down->shape));
  Result<Tensor> scaled = scaledColumns(*up, *middle);
  if (!scaled)
    return scaled.error();
  update.layer = Layer::Product;
  update.rank = up->shape[1];
  update.tensors = {{"A", *down}, {"B", std::move(*scaled)}};
  update.taken = BaseTerm{BaseTerm::Smallest, update.rank};
  return Done{};
}

const Methods &lowRankMethods() {
  using Module = FormReader::Module;
  using Text = const std::string &;
  static const Methods table = {
      {"adalora",
       {"adalora",
        {{".lora_A", "A"}, {".lora_B", "B"}, {".lora_E", "E"}},
        {"beta1", "beta2", "deltaT", "init_lora_weights", "init_r", "lora_alpha", "lora_dropout",
         "loftq_config", "megatron_config", "megatron_core", "orth_reg_weight", "qalora_group_size", "r",
         "rank_pattern", "target_r", "tfinal", "tinit", "total_step", "ensure_weight_tying"},
        {{"use_dora", "PEFT's AdaLoRA has none"}, {"alpha_pattern", "PEFT's AdaLoRA does not read it"}},
        [](FormReader &reader, Text, const Module &, Update &update) {
          return takeAdaLora(reader, update);
        }}},
      {"delora",
       {"delora",
        {{".delora_A", "A"}, {".delora_B", "B"}, {".delora_lambda", "lambda"}, {".delora_w_norm", "w_norm"}},
        {"delora_lambda", "init_weights", "lambda_pattern", "module_dropout", "r", "rank_pattern"},
        {},
        nullptr}},
      {"vera",
       {"vera",
        {{".vera_lambda_b", "lambda_b"},
         {".vera_lambda_d", "lambda_d"},
         {".vera_A", "A", false, true},
         {".vera_B", "B", false, true}},
        {"d_initial", "init_weights", "projection_prng_key", "r", "save_projection", "vera_dropout"},
        {},
        nullptr}},
      {"pvera",
       {"pvera",
        {{".pvera_lambda_b", "lambda_b"},
         {".pvera_lambda_d", "lambda_d"},
         {".pvera_A", "A", false, true},
         {".pvera_B", "B", false, true}},
        {"d_initial", "generator_seed", "init_weights", "projection_prng_key", "pvera_dropout", "r",
         "save_projection"},
        {{"sample_at_inference", "it draws anew in each call"}},
        nullptr}},
      {"randlora",
       {"randlora",
        {{".randlora_lambda", "lambda"},
         {".randlora_gamma", "gamma"},
         {".randlora_A", "A", false, true},
         {".randlora_B", "B", false, true},
         {".randlora_A", "copy_A"},
         {".randlora_B", "copy_B"}},
        {"init_weights", "projection_prng_key", "r", "randlora_alpha", "randlora_dropout", "save_projection",
         "sparse", "very_sparse"},
        {},
        [](FormReader &reader, Text, const Module &module, Update &update) {
          Result<double> alpha = reader.config.number("randlora_alpha", 640),
                         r = reader.config.number("r", 32);
          if (!alpha || !r)
            return alpha ? Status(r.error()) : Status(alpha.error());
          update.scale = *alpha / *r;
          if (!std::isfinite(update.scale))
            return Status(reader.config.error("randlora_alpha", "gives no finite scale"));
          return dropCopies(reader, module, update);
        }}},
      {"tinylora",
       {"tinylora",
        {{".tinylora_A", "A"},
         {".tinylora_B", "B"},
         {".tinylora_P", "P"},
         {".tinylora_v.*", "v", false, true}},
        {"init_v_bound", "init_weights", "projection_seed", "r", "save_projection", "tinylora_dropout", "u",
         "weight_tying"},
        {},
        [](FormReader &reader, Text path, const Module &module, Update &update) {
          return takeTinyLora(reader, path, module, update);
        }}},
      {"vblora",
       {"vblora",
        {{".vblora_logits_A", "logits_A"},
         {".vblora_logits_B", "logits_B"},
         {".vblora_logits_A_topk_indices", "indices_A", true},
         {".vblora_logits_B_topk_indices", "indices_B", true},
         {".vblora_logits_A_topk_weights", "weights_A"},
         {".vblora_logits_B_topk_weights", "weights_B"},
         {".vblora_vector_bank", "bank", false, true}},
        {"init_logits_std", "init_vector_bank_bound", "num_vectors", "r", "save_only_topk_weights", "topk",
         "vblora_dropout", "vector_length"},
        {},
        [](FormReader &reader, Text, const Module &module, Update &update) {
          return takeVbLora(reader, module, update);
        }}},
      {"unilora",
       {"unilora",
        {{".unilora_indices_A", "indices_A", true},
         {".unilora_indices_B", "indices_B", true},
         {".unilora_scales_A", "scales_A"},
         {".unilora_scales_B", "scales_B"},
         {".unilora_theta_d", "theta", false, true}},
        {"init_theta_d_bound", "init_weights", "proj_seed", "r", "save_indices", "theta_d_length",
         "unilora_dropout"},
        {},
        nullptr}},
      {"osf",
       {"lora",
        {{".osf_svd_params.U_low", "U"}, {".osf_svd_params.S_low", "S"}, {".osf_svd_params.V_low", "V"}},
        {"effective_rank", "init_weights", "rank_pattern", "target_svd_config"},
        {},
        [](FormReader &reader, Text, const Module &module, Update &update) {
          return takeOsf(reader, module, update);
        }}},
      {"gralora",
       {"gralora",
        {{".gralora_A", "A"},
         {".gralora_B", "B"},
         {".gralora_A_general.weight", "A_general"},
         {".gralora_B_general.weight", "B_general"}},
        {"alpha", "gralora_dropout", "gralora_k", "hybrid_r", "init_weights", "r"},
        {},
        [](FormReader &reader, Text, const Module &module, Update &update) {
          return takeGraLora(reader, module, update);
        }}},
  };
  return table;
}

} // namespace adapter::checkpoint
