// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Folders that AdapterHub's `adapters` writes (save_adapter), with a bottleneck adapter in them. Follows
// adapters/methods/{bottleneck,modeling}.py of adapters 1.3; the formula is in Bottleneck.h.
#include "lib/Checkpoint/AdapterHub.h"
#include "lib/Checkpoint/AdapterHubOld.h"
#include "lib/Checkpoint/AdapterTensors.h"
#include "lib/Checkpoint/Bottleneck.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Formats.h"
#include "lib/Checkpoint/LowRank.h"
#include "lib/Checkpoint/PeftKeys.h"
#include "lib/Checkpoint/Text.h"
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace adapter::checkpoint {

namespace {

using Value = ModulePlacement::Value;

// Fields without a bearing on the result: of training, or of what a field that is refused would switch on.
const std::set<std::string> idleFields = {"attention_type", // of fusion, in old files
                                          "dropout",
                                          "init_weights",
                                          "init_weights_seed",
                                          "inv_adapter_reduction_factor",
                                          "learn_phm",
                                          "phm_bias",
                                          "phm_c_init",
                                          "phm_dim",
                                          "phm_init_range",
                                          "phm_rank",
                                          "factorized_phm_W",
                                          "factorized_phm_rule",
                                          "shared_W_phm",
                                          "shared_phm_rule",
                                          "hypercomplex_nonlinearity",
                                          "stochastic_depth"};
const std::set<std::string> obeyedFields = {"adapter_residual_before_ln",
                                            "is_parallel",
                                            "leave_out",
                                            "ln_after",
                                            "ln_before",
                                            "mh_adapter",
                                            "non_linearity",
                                            "original_ln_after",
                                            "original_ln_before",
                                            "output_adapter",
                                            "reduction_factor",
                                            "residual_before_ln",
                                            "scaling",
                                            "use_gating",
                                            "architecture"};
const std::map<std::string, const char *> refusedFields = {
    {"inv_adapter", "invertible adapters behind the embedding are not there yet"},
    {"cross_adapter", "adapters behind cross-attention are not there yet"},
    {"phm_layer",
     "products of hypercomplex numbers (Compacter); adapter-opt convert compacter FOLDER -o OUT makes "
     "plain bottlenecks of them"}};

// transformers' and adapters' names of activations that have another one here.
const std::map<std::string, Activation> otherNames = {
    {"gelu_python", Activation::Gelu},           {"gelu_new", Activation::GeluTanh},
    {"gelu_fast", Activation::GeluTanh},         {"gelu_accurate", Activation::GeluTanh},
    {"gelu_pytorch_tanh", Activation::GeluTanh}, {"swish", Activation::Silu},
    {"leakyrelu", Activation::LeakyRelu},        {"linear", Activation::Identity}};
// Those that are spelled alike, but for what they may not be called.
std::optional<Activation> activationNamed(const std::string &name) {
  if (auto other = otherNames.find(name); other != otherNames.end())
    return other->second;
  std::optional<Activation> known = named<Activation>(name);
  bool isOwnName = known == Activation::GeluTanh || known == Activation::Identity;
  return isOwnName ? std::nullopt : known;
}

class HubReader {
public:
  HubReader(const PeftConfig &folder, PeftConfig config, const std::string &file, Adapter &adapter)
      : folder(folder), config(std::move(config)), file(file), adapter(adapter) {}
  Status run(const Safetensors &tensors);

private:
  struct Module {
    std::map<std::string, const Tensor *> roles;
    const Tensor *any() const { return roles.begin()->second; }
  };

  Error wrong(const Tensor &tensor, const std::string &problem) const {
    return Error{file + ": tensor '" + tensor.key + "' " + problem};
  }
  Status checkFields() const;
  Status readBottleneck();
  Status readPlacement();
  Status place(const Tensor &tensor);
  Status readModule(const std::string &path, const Module &module);
  Status checkLayer(const std::string &path, const Module &module);
  Status checkWidth(const Tensor &down) const;

  const PeftConfig &folder, config; // the file, and what it says under "config"
  const std::string &file;
  Adapter &adapter;
  Bottleneck bottleneck;
  ModulePlacement placement;
  bool learned = false; // the scale is one trained number
  double scaling = 1.0;
  std::map<std::string, Module> modules;
  bool attention = false, output = false; // whether there are such modules
};

} // namespace

Status HubReader::checkFields() const {
  Result<std::string> architecture = config.text("architecture");
  if (!architecture)
    return architecture.error();
  if (!architecture->empty())
    return config.error("architecture",
                        "is '" + *architecture + "', which is not supported; bottlenecks are");
  for (const auto &[name, value] : config.fields().items()) {
    if (auto it = refusedFields.find(name); it != refusedFields.end() && config.isSet(name))
      return config.error(name, std::string("is not supported: ") + it->second);
    if (!refusedFields.count(name) && !idleFields.count(name) && !obeyedFields.count(name) &&
        config.isSet(name))
      return config.error(name, "is unknown and may change the result; set it to null if it does not");
  }
  for (const char *name : {"adapter_residual_before_ln", "is_parallel", "ln_after", "ln_before", "mh_adapter",
                           "original_ln_after", "original_ln_before", "output_adapter", "use_gating"})
    if (Result<bool> value = config.boolean(name); !value)
      return value.error();
  return Done{};
}

Status HubReader::readBottleneck() {
  Result<std::string> named = config.text("non_linearity");
  if (!named)
    return named.error();
  std::string name = *named;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  // Files without a version are older than a change of names.
  if (!folder.isSet("version"))
    name = name == "gelu" ? "gelu_new" : name == "gelu_orig" ? "gelu" : name;
  std::optional<Activation> known = activationNamed(name);
  if (!known)
    return config.error("non_linearity",
                        name.empty() ? "is missing" : "is '" + *named + "', which is not supported");
  bottleneck.activation = *known;
  bottleneck.normBefore = *config.boolean("ln_before");
  bottleneck.normAfter = *config.boolean("ln_after");
  bottleneck.gate = *config.boolean("use_gating");
  bottleneck.residualFirst = bottleneck.normAfter && *config.boolean("adapter_residual_before_ln") &&
                             !*config.boolean("is_parallel");
  auto scale = config.fields().find("scaling");
  if (scale == config.fields().end() || scale->is_null())
    return Done{};
  if (scale->is_number())
    scaling = scale->get<double>();
  else if (*scale == "learned")
    learned = true;
  else if (*scale == "channel")
    bottleneck.channel = true;
  else
    return config.error("scaling", "is neither a number, 'learned' nor 'channel'");
  return Done{};
}

Status HubReader::readPlacement() {
  // Absent fields have BnConfig's defaults.
  placement.final = config.fields().contains("original_ln_after") && !*config.boolean("original_ln_after");
  if (*config.boolean("is_parallel")) {
    placement.input = Value::Residual;
    return Done{};
  }
  bool before = *config.boolean("original_ln_before");
  placement.input = before ? Value::Norm : Value::Sublayer;
  auto field = config.fields().find("residual_before_ln");
  if (field == config.fields().end() || *field == true)
    placement.onto = Value::Sublayer;
  else if (*field == false)
    placement.onto = placement.input;
  else if (*field == "post_add" && before)
    placement.onto = Value::Sum;
  else
    return config.error("residual_before_ln",
                        *field == "post_add" ? "is 'post_add', which means nothing without original_ln_before"
                                             : "is neither true, false nor 'post_add'");
  return Done{};
}

Status HubReader::place(const Tensor &tensor) {
  const std::string mark = ".adapters." + *folder.text("name") + ".",
                    key = currentHubKey(withoutWrappers(tensor.key));
  size_t at = key.rfind(mark);
  if (at == std::string::npos)
    return wrong(tensor, "has no place in a bottleneck adapter of the name '" + *folder.text("name") + "'");
  if (!isFloat(tensor.dtype))
    return wrong(tensor, "is " + dtypeName(tensor.dtype) + "; expected float16, bfloat16 or float32");
  // A norm before the bottleneck is the first of the modules in adapter_down, and has a name of its own too.
  const std::string linear = bottleneck.normBefore ? "adapter_down.1." : "adapter_down.0.";
  std::map<std::string, const char *> places = {
      {linear + "weight", "down"},
      {linear + "bias", "down_bias"},
      {"adapter_up.weight", "up"},
      {"adapter_up.bias", "up_bias"},
  };
  if (bottleneck.normBefore)
    for (const char *name : {"adapter_down.0.", "adapter_norm_before."}) {
      places[name + std::string("weight")] = "norm_before";
      places[name + std::string("bias")] = "norm_before_bias";
    }
  if (bottleneck.normAfter) {
    places["adapter_norm_after.weight"] = "norm_after";
    places["adapter_norm_after.bias"] = "norm_after_bias";
  }
  if (bottleneck.gate) {
    places["gate.weight"] = "gate";
    places["gate.bias"] = "gate_bias";
  }
  if (bottleneck.channel || learned)
    places["scaling"] = bottleneck.channel ? "channel" : "learned";
  auto found = places.find(key.substr(at + mark.size()));
  if (found == places.end())
    return wrong(tensor, "has no place: nothing in " + config.path() + " explains it");
  const Tensor *&held = modules[key.substr(0, at)].roles[found->second];
  if (held && (held->bytes != tensor.bytes || !std::equal(held->data, held->data + held->bytes, tensor.data)))
    return wrong(tensor, "says another thing than '" + held->key + "', which is the same norm");
  held = &tensor;
  return Done{};
}

// Which of the configuration's places a module is at, and whether it may be there.
Status HubReader::checkLayer(const std::string &path, const Module &module) {
  bool isAttention = endsWith(path, "attention_adapters") || endsWith(path, "attention.output");
  const char *field = isAttention ? "mh_adapter" : "output_adapter";
  if (!*config.boolean(field))
    return wrong(*module.any(), "does not fit its configuration: " + std::string(field) + " is false");
  (isAttention ? attention : output) = true;
  auto leftOut = config.fields().find("leave_out");
  if (leftOut == config.fields().end() || leftOut->is_null())
    return Done{};
  if (!leftOut->is_array())
    return config.error("leave_out", "is no list");
  // Decoders behind encoders count on where the encoder ends, which is not said here.
  if (path.find("decoder") != std::string::npos)
    return Done{};
  for (size_t start = 0, dot; start < path.size(); start = dot + 1) {
    dot = std::min(path.find('.', start), path.size());
    std::string part = path.substr(start, dot - start);
    if (part.empty() || !std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; }))
      continue;
    for (const Json &layer : *leftOut)
      if (layer.is_number_integer() && std::to_string(layer.get<int64_t>()) == part)
        return wrong(*module.any(), "does not fit its configuration: leave_out names layer " + part);
    break;
  }
  return Done{};
}

// The narrow size is the width by the reduction factor, or by one of them where layers differ.
Status HubReader::checkWidth(const Tensor &down) const {
  auto field = config.fields().find("reduction_factor");
  std::vector<double> factors;
  if (field != config.fields().end() && field->is_number())
    factors.push_back(field->get<double>());
  else if (field != config.fields().end() && field->is_object())
    for (const Json &each : *field)
      factors.push_back(each.is_number() ? each.get<double>() : 0.0);
  std::string sizes;
  for (double factor : factors) {
    if (!(factor > 0.0))
      return config.error("reduction_factor", "is not positive");
    double narrow = std::floor(static_cast<double>(down.shape[1]) / factor);
    int64_t size = narrow < 1.0 ? 1 : narrow < 1e15 ? static_cast<int64_t>(narrow) : 0;
    if (size == down.shape[0])
      return Done{};
    sizes += (sizes.empty() ? "" : " or ") + std::to_string(size);
  }
  if (factors.empty())
    return config.error("reduction_factor", "is neither a number nor a map from layers to numbers");
  return wrong(down,
               "has shape " + shapeText(down.shape) + ", but reduction_factor makes that " + sizes + " rows");
}

Status HubReader::readModule(const std::string &path, const Module &module) {
  if (Status status = checkLayer(path, module); !status)
    return status;
  std::vector<std::string> roles = bottleneck.roles();
  if (learned)
    roles.push_back("learned");
  for (const std::string &role : roles)
    if (!module.roles.count(role))
      return wrong(*module.any(), "has no counterpart for '" + role + "' of the same module");
  const Tensor &down = *module.roles.at("down");
  if (down.shape.size() != 2)
    return wrong(down, "has shape " + shapeText(down.shape) + ", which is no matrix");
  int64_t narrow = down.shape[0], in = down.shape[1];
  std::map<std::string, std::vector<int64_t>> shapes = {{"down", {narrow, in}}, {"down_bias", {narrow}},
                                                        {"up", {in, narrow}},   {"gate", {1, in}},
                                                        {"gate_bias", {1}},     {"learned", {1}}};
  for (const auto &[role, tensor] : module.roles) {
    auto expected = shapes.emplace(role, std::vector<int64_t>{in}).first;
    if (tensor->shape != expected->second)
      return wrong(*tensor,
                   "has shape " + shapeText(tensor->shape) + ", expected " + shapeText(expected->second));
  }
  if (Status status = checkWidth(down); !status)
    return status;
  Update update;
  update.module = path;
  update.parameter = placement.name();
  update.placement = placement;
  update.bottleneck = bottleneck;
  update.rank = narrow;
  update.scale = scaling;
  if (learned) {
    Result<Tensor> number = toF32(*module.roles.at("learned"));
    if (!number)
      return number.error();
    update.scale = reinterpret_cast<const float *>(number->data)[0];
  }
  for (const auto &[role, tensor] : module.roles)
    if (role != "learned")
      update.tensors[role] = *tensor;
  adapter.updates.push_back(std::move(update));
  return Done{};
}

Status HubReader::run(const Safetensors &tensors) {
  if (Status status = checkFields(); !status)
    return status;
  if (Status status = readBottleneck(); !status)
    return status;
  if (Status status = readPlacement(); !status)
    return status;
  for (const Tensor &tensor : tensors.tensors)
    if (Status status = place(tensor); !status)
      return status;
  for (const auto &[path, module] : modules)
    if (Status status = readModule(path, module); !status)
      return status;
  for (auto [field, found] : {std::pair("mh_adapter", attention), {"output_adapter", output}})
    if (*config.boolean(field) && !found)
      return config.error(field, "is true, but " + file + " holds no module for it");
  return Done{};
}

bool isAdapterHub(const PeftConfig &config) {
  return !config.fields().contains("peft_type") && config.fields().contains("config");
}

// The head that was saved along, as whole parameters.
static Status readHead(const std::string &folder, Adapter &adapter, std::vector<std::string> &files) {
  std::string configFile = folder + "/head_config.json", file = folder + "/model_head.safetensors";
  if (!exists(configFile))
    return Done{};
  Result<PeftConfig> config = PeftConfig::read(configFile);
  if (!config)
    return config.error();
  const char *without = "; without head_config.json the graph's own head is used";
  if (config->isSet("config"))
    return config->error("config",
                         std::string("describes a head that `adapters` put on the model, which is not "
                                     "supported") +
                             without);
  if (!exists(file)) {
    std::string pickle = folder + "/pytorch_model_head.bin";
    if (!exists(pickle))
      return Error{configFile + ": there is no model_head.safetensors beside it" + without};
    Error error = describePickle(pickle, "model_head.safetensors");
    error.message += without;
    return error;
  }
  Result<Safetensors> tensors = readAdapterTensors(file);
  if (!tensors)
    return tensors.error();
  files.insert(files.end(), {configFile, file});
  for (const Tensor &tensor : tensors->tensors) {
    Result<Update> update = replacement(file, tensor);
    if (!update)
      return update.error();
    adapter.updates.push_back(std::move(*update));
  }
  return Done{};
}

Status readAdapterHub(const PeftConfig &config, const std::string &folder, Adapter &adapter,
                      std::vector<std::string> &files) {
  std::string file = folder + "/adapter.safetensors";
  if (exists(folder + "/adapter_fusion_config.json"))
    return Error{folder + "/adapter_fusion_config.json: fusion of adapters is not supported"};
  if (!exists(file)) {
    std::string pickle = folder + "/pytorch_adapter.bin";
    return exists(pickle) ? describePickle(pickle, "adapter.safetensors")
                          : Error{folder + ": no adapter.safetensors there"};
  }
  for (const char *field : {"name", "version", "model_name"})
    if (Result<std::string> text = config.text(field); !text)
      return text.error();
  if (!config.isSet("name"))
    return config.error("name", "is missing");
  Result<Safetensors> tensors = readAdapterTensors(file);
  if (!tensors)
    return tensors.error();
  adapter.method = "bottleneck";
  adapter.baseModel = *config.text("model_name");
  files.push_back(file);
  Result<PeftConfig> fields = currentHubConfig(config, *tensors);
  if (!fields)
    return fields.error();
  if (Status status = HubReader(config, *fields, file, adapter).run(*tensors); !status)
    return status;
  return readHead(folder, adapter, files);
}

} // namespace adapter::checkpoint
