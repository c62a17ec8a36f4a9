// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// PEFT's methods that multiply the weight. See FormReader.h.
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/FormReader.h"
#include "lib/Checkpoint/PeftKeys.h"
#include "lib/Checkpoint/Regex.h"
#include "lib/Checkpoint/Text.h"
#include <cmath>

namespace adapter::checkpoint {

static Status takeOft(FormReader &reader, Update &update) {
  const PeftConfig &config = reader.config;
  Result<double> eps = config.number("eps", 6e-5), terms = config.number("num_cayley_neumann_terms", 5);
  // Before it there was no series.
  Result<bool> series = config.fields().contains("use_cayley_neumann") ? config.boolean("use_cayley_neumann")
                                                                       : Result<bool>(false);
  Result<std::string> version = config.text("peft_version");
  if (!eps || !terms || !series || !version)
    return !eps ? eps.error() : !terms ? terms.error() : !series ? series.error() : version.error();
  if (*series && regexMatches("0\\.(\\d|1[0-7])\\..*", *version).value_or(false))
    return config.error("peft_version", "is '" + *version +
                                            "', which has another series for use_cayley_neumann than "
                                            "0.18 and later; train again, or with use_cayley_neumann=False");
  if (*series && (*terms < 1 || *terms > 1000 || *terms != std::floor(*terms)))
    return config.error("num_cayley_neumann_terms", "must be a whole number from 1 to 1000");
  update.attributes["terms"] = *series ? static_cast<int64_t>(*terms) : 0;
  update.scalars["eps"] = *eps;
  return reader.takeSwitch("coft", "coft", update);
}

// PEFT's rule: a regular expression for the whole path, or names that a path ends with.
static Status takeFeedForward(FormReader &reader, const std::string &path, Update &update) {
  const PeftConfig &config = reader.config;
  Result<std::vector<std::string>> names = config.names("feedforward_modules");
  if (!names)
    return names.error();
  bool isText =
      config.fields().contains("feedforward_modules") && config.fields()["feedforward_modules"].is_string();
  for (const std::string &name : *names) {
    std::optional<bool> matches = isText ? regexMatches(name, path) : std::optional(endsWith(path, name));
    if (!matches)
      return config.error("feedforward_modules", "'" + name +
                                                     "' cannot be read as a regular expression here; write a "
                                                     "list of names");
    if (*matches)
      update.form = "ia3_input";
  }
  return Done{};
}

// The factors of a butterfly one by one: [n, blocks, b, b].
static Status takeBoft(FormReader &reader, const FormReader::Module &module, Update &update) {
  const Tensor *all = module.role("R");
  if (!all || all->shape.size() != 4 || all->shape[0] > 6)
    return reader.wrong(all ? *all : *module.tuned.begin()->second,
                        all ? "has shape " + shapeText(all->shape) +
                                  "; expected [n, blocks, b, b] with n <= 6"
                            : "has no boft_R beside it");
  if (all->shape[2] % 2)
    return reader.wrong(*all, "has blocks of an odd size, which have no halves");
  for (int64_t i = 0; i < all->shape[0]; ++i) {
    Tensor part = *all;
    part.shape.erase(part.shape.begin());
    part.bytes = all->bytes / static_cast<size_t>(all->shape[0]);
    part.data = all->data + static_cast<size_t>(i) * part.bytes;
    update.tensors["R" + std::to_string(i)] = part;
  }
  update.tensors.erase("R");
  return Done{};
}

static Status takeRoad(FormReader &reader, Update &update) {
  Result<std::string> variant = reader.config.text("variant");
  if (!variant)
    return variant.error();
  const std::map<std::string, int64_t> variants = {{"", 1}, {"road_1", 1}, {"road_2", 2}, {"road_4", 4}};
  auto found = variants.find(*variant);
  if (found == variants.end())
    return reader.config.error("variant", "is '" + *variant + "'; expected road_1, road_2 or road_4");
  update.attributes["variant"] = found->second;
  return reader.takeCount("group_size", 64, "group_size", update);
}

static Status takeDeft(FormReader &reader, const FormReader::Module &module, Update &update) {
  Result<std::string> how = reader.config.text("decomposition_method");
  Result<double> r = reader.config.number("r", 8);
  Result<bool> alone = reader.config.boolean("para");
  if (!how || !r || !alone)
    return !how ? how.error() : !r ? r.error() : alone.error();
  if (!how->empty() && *how != "relu" && *how != "qr")
    return reader.config.error("decomposition_method", "is '" + *how + "'; expected relu or qr");
  update.attributes["decomposition"] = *how == "qr";
  if (*alone == (module.role("R") != nullptr))
    return reader.wrong(*module.tuned.begin()->second,
                        "does not fit its configuration: para says that there is " +
                            std::string(*alone ? "no" : "a") + " deft_R");
  Result<double> alpha = reader.config.number("alpha", *r);
  if (!alpha)
    return alpha.error();
  update.scale = *alpha / *r;
  return std::isfinite(update.scale) ? Status(Done{}) : reader.config.error("alpha", "gives no finite scale");
}

// What modules of a kind share stands under the kind's name: that of the module, with its parent's in front unless that
// is a number.
static Status takeFrod(FormReader &reader, const std::string &path, Update &update) {
  std::vector<std::string> parts;
  for (size_t start = 0, dot; start <= path.size(); start = dot + 1) {
    dot = std::min(path.find('.', start), path.size());
    parts.push_back(path.substr(start, dot - start));
  }
  auto isNumber = [](const std::string &text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  };
  std::string kind = parts.back();
  if (parts.size() > 1 && !isNumber(parts[parts.size() - 2])) {
    kind = parts[parts.size() - 2] + "_" + kind;
    if (kind == "output_dense" && parts.size() > 2 && parts[parts.size() - 3] == "attention")
      kind = "attention_output";
  }
  for (const char *role : {"V", "indices", "size"})
    if (Status status = reader.takeShared(role, kind, path, update); !status)
      return status;
  Tensor size = update.tensors.extract("size").mapped();
  Result<Tensor> sizes = toI64(size);
  const Tensor &basis = update.tensors.at("V");
  for (size_t i = 0; i < 2; ++i)
    if (!sizes || sizes->elements() != 2 || basis.shape.size() != 2 ||
        reinterpret_cast<const int64_t *>(sizes->data)[i] != basis.shape[i])
      return reader.wrong(size, "is not the shape of '" + basis.key + "'");
  return Done{};
}

const Methods &multiplicativeMethods() {
  using Module = FormReader::Module;
  using Text = const std::string &;
  static const Methods table = {
      {"oft",
       {"oft",
        {{".oft_R.weight", "R"}, {".oft_embedding_R.weight", "R"}},
        {"block_share", "coft", "eps", "init_weights", "module_dropout", "num_cayley_neumann_terms",
         "oft_block_size", "r", "use_cayley_neumann"},
        {},
        [](FormReader &reader, const std::string &, const FormReader::Module &, Update &update) {
          return takeOft(reader, update);
        }}},
      {"ia3",
       {"ia3",
        {{".ia3_l", "l"}},
        {"feedforward_modules", "init_ia3_weights"},
        {},
        [](FormReader &reader, const std::string &path, const FormReader::Module &, Update &update) {
          return takeFeedForward(reader, path, update);
        }}},
      {"hra",
       {"hra",
        {{".hra_u", "U"}},
        {"apply_GS", "init_weights", "r"},
        {},
        [](FormReader &reader, const std::string &, const FormReader::Module &, Update &update) {
          return reader.takeSwitch("apply_GS", "apply_GS", update);
        }}},
      {"boft",
       {"boft",
        {{".boft_R", "R"}, {".boft_s", "s"}},
        {"boft_block_num", "boft_block_size", "boft_dropout", "boft_n_butterfly_factor", "init_weights"},
        {},
        [](FormReader &reader, Text, const Module &module, Update &update) {
          return takeBoft(reader, module, update);
        }}},
      {"road",
       {"road",
        {{".road_theta", "theta"}, {".road_alpha", "alpha"}},
        {"group_size", "init_weights", "variant"},
        {},
        [](FormReader &reader, Text, const Module &, Update &update) { return takeRoad(reader, update); }}},
      {"deft",
       {"deft",
        {{".deft_P", "P"}, {".deft_R", "R"}},
        {"alpha", "decomposition_method", "deft_dropout", "init_scale", "init_weights", "para", "r"},
        {},
        [](FormReader &reader, Text, const Module &module, Update &update) {
          return takeDeft(reader, module, update);
        }}},
      {"frod",
       {"frod",
        {{".frod_lambda_l", "lambda_l"},
         {".frod_lambda_s_values", "lambda_s"},
         {".frod_V.*", "V", false, true},
         {".frod_s_indices.*", "indices", true, true},
         {".frod_s_size.*", "size", true, true}},
        {"frod_dropout", "init_weights", "progressbar", "projection_prng_key", "regularization_alpha",
         "runtime_offload_base_weight", "save_projection", "sparse_rate"},
        {},
        [](FormReader &reader, Text path, const Module &, Update &update) {
          return takeFrod(reader, path, update);
        }}},
  };
  return table;
}

} // namespace adapter::checkpoint
