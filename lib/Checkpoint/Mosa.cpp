// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// MoSA (A06 of the list of methods, github.com/Theia-4869/MoSA): one matrix of an adapter in several modules, each
// trained behind a mask of its own, the other shared and dense. The method's code keeps masks beside its parameters
// and saves none, so that the folder is this project's: peft_type ADAPTER_OPT_MOSA, tensors under the code's names,
// <block>.adapter_up.<i>.weight and its like, and each mask as <the same>.mask. See docs/modules.md.
#include "lib/Checkpoint/Bottleneck.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/PeftReader.h"
#include <algorithm>
#include <cstring>

namespace adapter::checkpoint {

namespace {

using Value = ModulePlacement::Value;

const std::set<std::string> known = {"style", "scalar", "merge", "expert_num", "norm_epsilon"};
const std::map<std::string, const char *> refused = {
    {"share", "what is shared is said by the tensors; the up-projection is what may be mixed"}};

class MosaReader final : public PeftReader {
public:
  using PeftReader::PeftReader;

private:
  std::vector<Place> places() const override { return tensorPlaces; }
  const std::set<std::string> &knownFields() const override { return known; }
  const std::map<std::string, const char *> &refusedFields() const override { return refused; }
  Status checkMethod() const override;
  Status readTuned(const std::string &path, const Module &module) override;

  Status readModule(const std::string &path, const std::string &names, const Module &module, Update update);
  Status readMixture(const Module &module, const std::string &names, const std::string &what,
                     const std::string &role, Update &update);
  Status checkMask(const Tensor &mask, const Tensor &values) const;
  Bottleneck bottleneck(Activation activation, bool norm) const;
  MaskedMix mixture() const;

  int count() const { return static_cast<int>(*config.number("expert_num", 4)); }

  // Names of the roles, which outlive the places that point to them.
  mutable std::vector<std::string> names;
  std::vector<Place> tensorPlaces = makePlaces();
  std::vector<Place> makePlaces() const;
};

} // namespace

// The code adds the modules or joins them, and divides by their number either way.
MaskedMix MosaReader::mixture() const {
  std::string merge = *config.text("merge");
  MaskMode mode = merge == "sum" ? MaskMode::Sum : merge == "select" ? MaskMode::Select : MaskMode::Mean;
  return {mode, count()};
}

// Every place that a style's tensors may have: ".adapter_up_ffn.2.weight" and so on.
std::vector<PeftReader::Place> MosaReader::makePlaces() const {
  std::vector<bool> integers;
  auto add = [&](const std::string &name, bool isMask) {
    names.push_back(name);
    integers.push_back(isMask);
  };
  // As many modules as there may ever be: one too many is then an error that names its tensor.
  constexpr int modules = 64;
  auto addLinear = [&](const std::string &down, const std::string &up, bool bias) {
    for (const char *parameter : {".weight", ".bias"}) {
      if (parameter[1] == 'b' && !bias)
        continue;
      add("." + down + parameter, false);
      for (int i = 0; i < modules; ++i) {
        add("." + up + "." + std::to_string(i) + parameter, false);
        add("." + up + "." + std::to_string(i) + parameter + ".mask", true);
      }
    }
  };
  for (const char *end : {"", "_attn", "_ffn"})
    addLinear(std::string("adapter_down") + end, std::string("adapter_up") + end, true);
  for (const char *projection : {"q", "k", "v", "o"})
    addLinear(std::string("lora_A_") + projection, std::string("lora_B_") + projection, false);
  add(".adapter_norm.weight", false);
  add(".adapter_norm.bias", false);
  std::vector<Place> places;
  for (size_t i = 0; i < names.size(); ++i)
    places.push_back({names[i].c_str(), names[i].c_str(), integers[i]});
  return places;
}

Status MosaReader::checkMethod() const {
  Result<std::string> style = config.text("style"), merge = config.text("merge");
  Result<double> modules = config.number("expert_num", 4), scalar = config.number("scalar", 1),
                 epsilon = config.number("norm_epsilon", 1e-6);
  for (const Error *error : {style ? nullptr : &style.error(), merge ? nullptr : &merge.error(),
                             modules ? nullptr : &modules.error(), scalar ? nullptr : &scalar.error(),
                             epsilon ? nullptr : &epsilon.error()})
    if (error)
      return *error;
  static const std::set<std::string> styles = {"AdaptFormer", "Pfeiffer", "Houlsby", "LoRA"};
  static const std::set<std::string> merges = {"", "add", "joint", "mean", "sum", "select"};
  if (!styles.count(*style))
    return config.error("style", "is '" + *style + "'; expected AdaptFormer, Pfeiffer, Houlsby or LoRA");
  if (!merges.count(*merge))
    return config.error("merge",
                        "is '" + *merge + "'; expected add, joint or mean, which are one, sum or select");
  if (*modules < 1 || *modules > 64 || *modules != static_cast<int>(*modules))
    return config.error("expert_num", "is no whole number from 1 to 64");
  if (*epsilon != 1e-5 && *epsilon != 1e-6)
    return config.error("norm_epsilon", "is neither 1e-5 nor 1e-6");
  return Done{};
}

static bool isZero(const Tensor &tensor, int64_t index) {
  size_t size = dtypeSize(tensor.dtype);
  const std::byte *start = tensor.data + index * size;
  // A float's zero may have a sign.
  bool rest = std::all_of(start, start + size - 1, [](std::byte b) { return b == std::byte{0}; });
  std::byte last = start[size - 1];
  return rest && (last == std::byte{0} || (isFloat(tensor.dtype) && last == std::byte{0x80}));
}

// Of u8 zeros and ones; what is not in the mask was never trained.
Status MosaReader::checkMask(const Tensor &mask, const Tensor &values) const {
  if ((mask.dtype != DType::U8 && mask.dtype != DType::I8 && mask.dtype != DType::Bool) ||
      mask.shape != values.shape)
    return wrong(mask, "is " + dtypeName(mask.dtype) + " " + shapeText(mask.shape) + "; expected uint8 " +
                           shapeText(values.shape));
  for (int64_t i = 0; i < mask.elements(); ++i) {
    if (mask.data[i] != std::byte{0} && mask.data[i] != std::byte{1})
      return wrong(mask, "holds another number than 0 and 1");
    if (mask.data[i] == std::byte{0} && !isZero(values, i))
      return wrong(values, "is not 0 everywhere outside of its mask");
  }
  return Done{};
}

// The modules of one tensor. The code can train all of a bias in every module, whose masks then hold ones.
Status MosaReader::readMixture(const Module &module, const std::string &name, const std::string &what,
                               const std::string &role, Update &update) {
  std::string maskRole = role == "up" ? "mask" : role == "B" ? "mask" : role + "_mask";
  for (int i = 0; i < count(); ++i) {
    std::string number = "." + std::to_string(i);
    const Tensor *values = module.role("." + name + number + what),
                 *mask = module.role("." + name + number + what + ".mask");
    if (!values || !mask)
      return Error{file + ": module '" + update.module + "' has no tensor '" + name + number + what +
                   (values ? ".mask'" : "'")};
    if (Status status = checkMask(*mask, *values); !status)
      return status;
    bool whole =
        role == "up_bias" && *config.text("merge") != "select" &&
        std::all_of(mask->data, mask->data + mask->elements(), [](std::byte b) { return b == std::byte{1}; });
    for (int j = 0; j < i && !whole; ++j) {
      const Tensor &other = update.tensors.at(maskRole + "." + std::to_string(j));
      for (int64_t at = 0; at < mask->elements() && other.shape == mask->shape; ++at)
        if (mask->data[at] == std::byte{1} && other.data[at] == std::byte{1})
          return wrong(*mask, "overlaps '" + other.key + "' in element " + std::to_string(at) +
                                  ", but masks are disjoint");
    }
    update.tensors[role + number] = *values;
    update.tensors[maskRole + number] = *mask;
  }
  return Done{};
}

Bottleneck MosaReader::bottleneck(Activation activation, bool norm) const {
  Bottleneck result;
  result.activation = activation;
  result.normBefore = norm;
  // Without a norm its epsilon says nothing, and must not make two modules differ.
  if (norm)
    result.epsilon = *config.number("norm_epsilon", 1e-6);
  return result;
}

Status MosaReader::readModule(const std::string &path, const std::string &end, const Module &module,
                              Update update) {
  update.scale = *config.number("scalar", 1);
  std::string down = ".adapter_down" + end;
  const Tensor *weight = module.role(down + ".weight"), *bias = module.role(down + ".bias");
  if (!weight || !bias || weight->shape.size() != 2)
    return Error{file + ": module '" + path + "' has no matrix '" + down.substr(1) + ".weight' with a bias"};
  update.rank = weight->shape[0];
  update.tensors = {{"down", *weight}, {"down_bias", *bias}};
  for (auto [parameter, role] : {std::pair(".weight", "up"), {".bias", "up_bias"}})
    if (Status status = readMixture(module, "adapter_up" + end, parameter, role, update); !status)
      return status;
  std::map<std::string, std::vector<int64_t>> shapes = {{"down", weight->shape},
                                                        {"down_bias", {update.rank}}};
  if (update.bottleneck->normBefore)
    for (auto [name, role] :
         {std::pair(".adapter_norm.weight", "norm_before"), {".adapter_norm.bias", "norm_before_bias"}}) {
      if (!module.role(name))
        return Error{file + ": module '" + path + "' has no tensor '" + std::string(name + 1) + "'"};
      update.tensors[role] = *module.role(name);
    }
  for (const auto &[role, tensor] : update.tensors) {
    bool matrix = role.rfind("up.", 0) == 0 || role.rfind("mask.", 0) == 0;
    auto known = shapes.find(role);
    std::vector<int64_t> expected = known != shapes.end() ? known->second
                                    : matrix ? std::vector<int64_t>{weight->shape[1], update.rank}
                                             : std::vector<int64_t>{weight->shape[1]};
    if (tensor.shape != expected)
      return wrong(tensor, "has shape " + shapeText(tensor.shape) + ", expected " + shapeText(expected));
  }
  adapter.updates.push_back(std::move(update));
  return Done{};
}

// A block, "encoder.layer.3"; the LoRA variant's tensors stand in its attention.
Status MosaReader::readTuned(const std::string &path, const Module &module) {
  std::string style = *config.text("style");
  std::set<std::string> used;
  size_t before = adapter.updates.size();
  auto start = [&](const char *place, ModulePlacement placement, Activation activation, bool norm) {
    Update update;
    update.module = path + place;
    update.parameter = placement.name();
    update.placement = placement;
    update.bottleneck = bottleneck(activation, norm);
    update.masked = mixture();
    return update;
  };
  Status status = Done{};
  if (style == "AdaptFormer")
    status =
        readModule(path, "", module,
                   start(".output_adapters", {Value::Residual, Value::Sublayer}, Activation::Gelu, true));
  else if (style == "Pfeiffer")
    status =
        readModule(path, "", module,
                   start(".output_adapters", {Value::Sublayer, Value::Sublayer}, Activation::Relu, true));
  else if (style == "Houlsby") {
    for (auto [end, place] : {std::pair("_attn", ".attention_adapters"), {"_ffn", ".output_adapters"}})
      if (status)
        status = readModule(path, end, module,
                            start(place, {Value::Sum, Value::Sum, true}, Activation::Silu, false));
  } else
    for (auto [letter, name] : {std::pair("q", ".query"), {"k", ".key"}, {"v", ".value"}, {"o", ".out"}}) {
      std::string end = std::string("_") + letter;
      const Tensor *a = module.role(".lora_A" + end + ".weight");
      if (!status || !a)
        continue;
      Update update;
      update.module = path + name;
      update.parameter = "weight";
      update.form = "lora";
      update.layer = Layer::Product;
      update.masked = mixture();
      update.scale = *config.number("scalar", 1);
      update.rank = a->shape[0];
      update.tensors["A"] = *a;
      status = readMixture(module, "lora_B" + end, ".weight", "B", update);
      if (status)
        for (int i = 0; i < count(); ++i)
          if (const Tensor &b = update.tensors.at("B." + std::to_string(i));
              a->shape.size() != 2 || b.shape.size() != 2 || b.shape[1] != a->shape[0])
            return wrong(b, "has shape " + shapeText(b.shape) + ", which does not fit '" + a->key + "' of " +
                                shapeText(a->shape));
      adapter.updates.push_back(std::move(update));
    }
  if (!status)
    return status;
  size_t taken = 0;
  for (size_t i = before; i < adapter.updates.size(); ++i)
    taken += adapter.updates[i].tensors.size();
  if (taken == module.tuned.size())
    return Done{};
  for (const auto &[role, tensor] : module.tuned) {
    bool found = false;
    for (size_t i = before; i < adapter.updates.size(); ++i)
      for (const auto &[name, each] : adapter.updates[i].tensors)
        found |= each.key == tensor->key;
    if (!found)
      return wrong(*tensor, "has no place in a module of style " + style);
  }
  return Done{};
}

Status readMosa(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
                Adapter &adapter) {
  return MosaReader(config, file, adapter).run(tensors);
}

} // namespace adapter::checkpoint
