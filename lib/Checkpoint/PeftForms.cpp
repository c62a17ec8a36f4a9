// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// PEFT's methods whose computation is a definition (lib/Forms/Library): what their files call the form's tensors, and what
// of the configuration the form asks for. A method is a row of this table.
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/PeftKeys.h"
#include "lib/Checkpoint/PeftReader.h"
#include "lib/Checkpoint/Regex.h"
#include "lib/Checkpoint/Text.h"
#include <cmath>

namespace adapter::checkpoint {

namespace {

struct Method;

class FormReader final : public PeftReader {
public:
  FormReader(const Method &method, const PeftConfig &config, const std::string &file, Adapter &adapter)
      : PeftReader(config, file, adapter), method(method) {}

  // What rows of the table are made of.
  using PeftReader::Module;
  using PeftReader::Place;
  Status takeSwitch(const char *field, const char *attribute, Update &update) const;
  Status takeAlpha(const std::string &path, Update &update) const;
  Status takeOft(Update &update) const;
  Status takeFeedForward(const std::string &path, Update &update) const;
  Status refuseRole(const Module &module, const char *role, const char *why) const;

private:
  std::vector<Place> places() const override;
  const std::set<std::string> &knownFields() const override;
  const std::map<std::string, const char *> &refusedFields() const override;
  Status readTuned(const std::string &path, const Module &module) override;

  const Method &method;
};

struct Method {
  const char *form;
  std::vector<FormReader::Place> places;
  std::set<std::string> known; // fields that are obeyed, or have no bearing on the result
  std::map<std::string, const char *> refused;
  // Scalars, attributes, and another form where the configuration says so.
  Status (*finish)(const FormReader &reader, const std::string &path, const FormReader::Module &module,
                   Update &update);
};

} // namespace

// A field that is true or false, as an attribute.
Status FormReader::takeSwitch(const char *field, const char *attribute, Update &update) const {
  Result<bool> value = config.boolean(field);
  if (!value)
    return value.error();
  update.attributes[attribute] = *value;
  return Done{};
}

// alpha / r with r and alpha of the configuration and its patterns: whole factors do not show their rank.
Status FormReader::takeAlpha(const std::string &path, Update &update) const {
  Result<double> r = config.number("r", 8), alpha = config.number("alpha", 8);
  if (!r || !alpha)
    return r ? alpha.error() : r.error();
  Result<std::vector<double>> ranks = config.pattern("rank_pattern", path, *r),
                              alphas = config.pattern("alpha_pattern", path, *alpha);
  if (!ranks || !alphas)
    return ranks ? alphas.error() : ranks.error();
  for (const auto &[field, values] : {std::pair("rank_pattern", &*ranks), {"alpha_pattern", &*alphas}})
    if (static_cast<size_t>(std::count(values->begin(), values->end(), values->back())) != values->size())
      return config.error(field,
                          "has a key before the one for '" + path +
                              "' that cannot be read as a regular expression here and may match; write the "
                              "module's path in full");
  update.scale = alphas->back() / ranks->back();
  return std::isfinite(update.scale) ? Status(Done{}) : config.error("alpha", "gives no finite scale");
}

Status FormReader::takeOft(Update &update) const {
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
  return takeSwitch("coft", "coft", update);
}

// PEFT's rule: a regular expression for the whole path, or names that a path ends with.
Status FormReader::takeFeedForward(const std::string &path, Update &update) const {
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

Status FormReader::refuseRole(const Module &module, const char *role, const char *why) const {
  const Tensor *tensor = module.role(role);
  return tensor ? wrong(*tensor, std::string("is not supported: ") + why) : Status(Done{});
}

static const char *const effective =
    "use_effective_conv2d has a tensor of its own for the taps; train without it";

// By peft_type in lower case.
static const std::map<std::string, Method> &methods() {
  static const std::map<std::string, Method> table = {
      {"oft",
       {"oft",
        {{".oft_R.weight", "R"}},
        {"block_share", "coft", "eps", "init_weights", "module_dropout", "num_cayley_neumann_terms",
         "oft_block_size", "r", "use_cayley_neumann"},
        {},
        [](const FormReader &reader, const std::string &, const FormReader::Module &, Update &update) {
          return reader.takeOft(update);
        }}},
      {"ia3",
       {"ia3",
        {{".ia3_l", "l"}},
        {"feedforward_modules", "init_ia3_weights"},
        {},
        [](const FormReader &reader, const std::string &path, const FormReader::Module &, Update &update) {
          return reader.takeFeedForward(path, update);
        }}},
      {"hra",
       {"hra",
        {{".hra_u", "U"}},
        {"apply_GS", "init_weights", "r"},
        {},
        [](const FormReader &reader, const std::string &, const FormReader::Module &, Update &update) {
          return reader.takeSwitch("apply_GS", "apply_GS", update);
        }}},
      {"vera",
       {"vera",
        {{".vera_lambda_b", "lambda_b"},
         {".vera_lambda_d", "lambda_d"},
         {".vera_A", "A", false, true},
         {".vera_B", "B", false, true}},
        {"d_initial", "init_weights", "projection_prng_key", "r", "save_projection", "vera_dropout"},
        {},
        nullptr}},
      {"loha",
       {"loha",
        {{".hada_w1_a", "w1_a"},
         {".hada_w1_b", "w1_b"},
         {".hada_w2_a", "w2_a"},
         {".hada_w2_b", "w2_b"},
         {".hada_t1", "t1"},
         {".hada_t2", "t2"}},
        {"alpha", "alpha_pattern", "init_weights", "module_dropout", "r", "rank_dropout", "rank_pattern",
         "use_effective_conv2d"},
        {},
        [](const FormReader &reader, const std::string &path, const FormReader::Module &module,
           Update &update) {
          Status status = reader.refuseRole(module, "t1", effective);
          return status ? reader.takeAlpha(path, update) : status;
        }}},
      {"lokr",
       {"lokr",
        {{".lokr_w1", "w1"},
         {".lokr_w1_a", "w1_a"},
         {".lokr_w1_b", "w1_b"},
         {".lokr_w2", "w2"},
         {".lokr_w2_a", "w2_a"},
         {".lokr_w2_b", "w2_b"},
         {".lokr_t2", "t2"}},
        {"alpha", "alpha_pattern", "decompose_both", "decompose_factor", "init_weights", "module_dropout",
         "r", "rank_dropout", "rank_dropout_scale", "rank_pattern", "use_effective_conv2d"},
        {},
        [](const FormReader &reader, const std::string &path, const FormReader::Module &module,
           Update &update) {
          Status status = reader.refuseRole(module, "t2", effective);
          // torch.kron pads the axes of w1 in front, so that PEFT's result is not the product of w1 and w2.
          if (const Tensor *w2 = module.role("w2"); status && w2 && w2->shape.size() == 3)
            status = reader.refuseRole(module, "w2",
                                       "PEFT's product of whole factors beside a one-dimensional "
                                       "convolution is not their Kronecker product");
          return status ? reader.takeAlpha(path, update) : status;
        }}},
  };
  return table;
}

std::vector<PeftReader::Place> FormReader::places() const { return method.places; }
const std::set<std::string> &FormReader::knownFields() const { return method.known; }
const std::map<std::string, const char *> &FormReader::refusedFields() const { return method.refused; }

Status FormReader::readTuned(const std::string &path, const Module &module) {
  Result<std::string> reason = whyNotTarget(path, module);
  if (!reason)
    return reason.error();
  if (!reason->empty())
    return wrong(*module.tuned.begin()->second, "does not fit its configuration: " + *reason);
  Update &update = add(path, "weight", method.form);
  for (const auto &[role, tensor] : module.tuned)
    update.tensors[role] = *tensor;
  for (const Place &place : method.places)
    if (auto tensor = shared.find(place.role); place.shared && tensor != shared.end())
      update.tensors[place.role] = *tensor->second;
  return method.finish ? method.finish(*this, path, module, update) : Status(Done{});
}

std::vector<std::string> peftFormTypes() {
  std::vector<std::string> types;
  for (const auto &[type, method] : methods())
    types.push_back(type);
  return types;
}

Status readPeftForm(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
                    Adapter &adapter) {
  return FormReader(methods().at(adapter.method), config, file, adapter).run(tensors);
}

} // namespace adapter::checkpoint
