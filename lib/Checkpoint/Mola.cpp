// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// MoLA (R25 of the list of methods), as github.com/GCYZSL/MoLA saves it (commit 4c7324d: src/mola_lora_hacked.py and
// get_peft_model_state_dict_moe of src/mola_peft_model_hacked.py): a PEFT folder of peft_type LORA, `r` a list by
// layer, and for each linear
//
//   <module>.router.router.weight  [experts, in]
//   <module>.lora_A_<i>.weight     [r, in]
//   <module>.lora_B_<i>.weight     [out, r]
//
// Each token has the best of a softmax over all experts, divided by their sum. How many of them is an argument of the
// code that no file holds: 2 by default; a field `top_k`, a number or one for each layer, says otherwise.
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Experts.h"
#include "lib/Checkpoint/PeftReader.h"
#include <algorithm>

namespace adapter::checkpoint {

namespace {

const std::set<std::string> known = {"init_lora_weights", "lora_alpha", "lora_dropout", "r",
                                     "number_experts",    "top_k"};
const std::map<std::string, const char *> refused = {
    {"use_dora", "experts of a mixture are plain LoRAs"},
    {"use_rslora", "the code of MoLA has another scale"},
    {"rank_pattern", "the code of MoLA takes ranks from the list r"},
    {"alpha_pattern", "the code of MoLA has one lora_alpha"}};

// More would be errors of their own.
constexpr int64_t maxExperts = 256;

class MolaReader final : public PeftReader {
public:
  MolaReader(const PeftConfig &config, const std::string &file, Adapter &adapter)
      : PeftReader(config, file, adapter) {
    names.push_back(".router.router.weight");
    for (int64_t i = 0; i < maxExperts; ++i)
      for (const char *factor : {".lora_A_", ".lora_B_"})
        names.push_back(factor + std::to_string(i) + ".weight");
  }

private:
  std::vector<Place> places() const override {
    std::vector<Place> result;
    for (const std::string &name : names)
      result.push_back({name.c_str(), name.c_str()});
    return result;
  }
  const std::set<std::string> &knownFields() const override { return known; }
  const std::map<std::string, const char *> &refusedFields() const override { return refused; }
  Status readTuned(const std::string &path, const Module &module) override;
  Result<int64_t> ofLayer(const std::string &field, const std::string &path, int64_t missing) const;

  std::vector<std::string> names; // which outlive the places that point to them
};

} // namespace

// A field that is one number, or a list of one for each layer; the layer is the third part of a module's path.
Result<int64_t> MolaReader::ofLayer(const std::string &field, const std::string &path,
                                    int64_t missing) const {
  auto it = config.fields().find(field);
  if (it == config.fields().end() || it->is_null())
    return missing;
  const Json *value = &*it;
  if (it->is_array()) {
    size_t begin = path.find('.', path.find('.') + 1) + 1, end = std::min(path.find('.', begin), path.size());
    std::string layer = begin ? path.substr(begin, end - begin) : "";
    bool isNumber =
        !layer.empty() && layer.size() < 6 && layer.find_first_not_of("0123456789") == std::string::npos;
    if (!isNumber || std::stoul(layer) >= it->size())
      return config.error(field, "is a list by layer, but has nothing for '" + path + "'");
    value = &(*it)[std::stoul(layer)];
  }
  if (!value->is_number_unsigned() || value->get<uint64_t>() < 1 || value->get<uint64_t>() > (1u << 20))
    return config.error(field, "holds what is no whole number from 1 on");
  return static_cast<int64_t>(value->get<uint64_t>());
}

Status MolaReader::readTuned(const std::string &path, const Module &module) {
  const Tensor *router = module.role(".router.router.weight");
  if (!router)
    return wrong(*module.tuned.begin()->second, "has no '" + path + ".router.router.weight' beside it");
  if (router->shape.size() != 2 || router->shape[0] > maxExperts)
    return wrong(*router, "has shape " + shapeText(router->shape) + "; expected [experts, in], " +
                              std::to_string(maxExperts) + " experts at most");
  Result<std::string> reason = whyNotTarget(path, module);
  Result<double> alpha = config.number("lora_alpha", 8);
  Result<int64_t> rank = ofLayer("r", path, 8), top = ofLayer("top_k", path, 2),
                  count = ofLayer("number_experts", path, router->shape[0]);
  for (const Error *error :
       {reason ? nullptr : &reason.error(), alpha ? nullptr : &alpha.error(), rank ? nullptr : &rank.error(),
        top ? nullptr : &top.error(), count ? nullptr : &count.error()})
    if (error)
      return *error;
  if (!reason->empty())
    return wrong(*router, "does not fit its configuration: " + *reason);
  int64_t experts = router->shape[0];
  if (*count != experts)
    return wrong(*router, "has shape " + shapeText(router->shape) + ", but number_experts says " +
                              std::to_string(*count));
  std::map<int64_t, Expert> parts;
  for (int64_t i = 0; i < experts; ++i) {
    std::string number = std::to_string(i) + ".weight";
    const Tensor *a = module.role(".lora_A_" + number), *b = module.role(".lora_B_" + number);
    if (!a || !b)
      return Error{file + ": module '" + path + "' has no tensor 'lora_" + (a ? "B_" : "A_") + number + "'"};
    if (a->shape.size() != 2 || a->shape[0] != *rank || a->shape[1] != router->shape[1])
      return wrong(*a, "has shape " + shapeText(a->shape) + "; expected " +
                           shapeText({*rank, router->shape[1]}) + " as " + config.path() +
                           " (r) and the router say");
    if (b->shape.size() != 2 || b->shape[1] != *rank)
      return wrong(*b,
                   "has shape " + shapeText(b->shape) + "; expected [out, " + std::to_string(*rank) + "]");
    parts[i] = {*a, *b, *alpha / static_cast<double>(*rank)};
  }
  for (const auto &[role, tensor] : module.tuned)
    if (role.rfind(".lora_", 0) == 0 && std::stoll(role.substr(8)) >= experts)
      return wrong(*tensor,
                   "is of an expert that the router, of " + std::to_string(experts) + ", does not have");
  Update &update = add(path, "weight", "");
  Mixture &mixture = update.mixture.emplace();
  mixture.route.normalise = RouteNormalise::After;
  mixture.route.top = *top;
  if (std::string why = mixture.route.whyWrong(experts); !why.empty())
    return config.error("top_k", "does not fit '" + router->key + "': " + why);
  if (Status status = stackExperts(parts, experts, 1.0, update, mixture.ranks); !status)
    return Error{file + ": " + status.error().message};
  Result<Tensor> wide = toF32(*router);
  if (!wide)
    return wide.error();
  wide->key = router->key;
  update.tensors["router"] = std::move(*wide);
  return Done{};
}

bool isMola(const Safetensors &tensors) {
  const std::string end = ".router.router.weight";
  return std::any_of(tensors.tensors.begin(), tensors.tensors.end(), [&](const Tensor &tensor) {
    return tensor.key.size() > end.size() &&
           !tensor.key.compare(tensor.key.size() - end.size(), end.size(), end);
  });
}

Status readMola(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
                Adapter &adapter) {
  adapter.method = "mola";
  return MolaReader(config, file, adapter).run(tensors);
}

} // namespace adapter::checkpoint
