// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// PEFT's X-LoRA (R16 of the list of methods; peft/tuners/xlora of PEFT 0.21): a classifier over the last hidden state
// of a first pass weighs LoRA experts, token by token, in a second. The folder has the classifier,
//
//   internal_xlora_classifier.layers.<n>.{weight, bias}
//
// and `adapters` names the experts' folders, by paths that are relative to it; or they lie in it under their names, as on
// the Hub. Folders whose name is a number are left alone: there save_pretrained of PEFT 0.21 writes those tensors of the
// whole model that have the number in their name.
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Experts.h"
#include "lib/Checkpoint/File.h"
#include <cmath>
#include <set>

namespace adapter::checkpoint {

namespace {

class XloraReader {
public:
  XloraReader(const PeftConfig &config, const std::string &file, Adapter &adapter)
      : config(config), file(file), adapter(adapter) {}
  Status run(const Safetensors &tensors);

private:
  Status readFields();
  Status readFolders();
  Status readRoute();
  Status readClassifier(const Safetensors &tensors);
  Result<int64_t> count(const std::string &field, int64_t missing) const;

  Error wrong(const Tensor &tensor, const std::string &problem) const {
    return Error{file + ": tensor '" + tensor.key + "' " + problem};
  }

  const PeftConfig &config;
  const std::string &file;
  Adapter &adapter;
  Classifier classifier;
  Route route;
  std::vector<std::string> folders;
  double weight = 1;     // global_scaling_weight
  bool dropout = true;   // numbers of the classifier's layers count it
  int64_t hidden = 4096; // width of the hidden state
};

} // namespace

Result<int64_t> XloraReader::count(const std::string &field, int64_t missing) const {
  Result<double> number = config.number(field, static_cast<double>(missing));
  if (!number)
    return number.error();
  if (*number != std::floor(*number) || *number < 1 || *number > 1e6)
    return config.error(field, "is no whole number from 1 on");
  return static_cast<int64_t>(*number);
}

Status XloraReader::readFolders() {
  auto list = config.fields().find("adapters");
  if (list == config.fields().end() || !list->is_object() || list->empty() || list->size() > 4096)
    return config.error("adapters", "is no dictionary of LoRA folders by name");
  for (const auto &[name, path] : list->items()) {
    if (!path.is_string())
      return config.error("adapters." + name, "is no path");
    std::string text = path.get<std::string>(), named = adapter.path + "/" + name;
    bool isName = name.find_first_not_of("0123456789") != std::string::npos &&
                  name.find('/') == std::string::npos && name[0] != '.';
    // PEFT writes the paths that it was given, absolute ones as a rule, which are good where they were trained.
    bool isThere = text.rfind('/', 0) == 0 && isDirectory(text);
    Result<std::string> folder =
        isThere ? Result<std::string>(text) : expertFolder(config, "adapters." + name, adapter.path, text);
    if (isName && isDirectory(named) && !(folder && isDirectory(*folder)))
      folder = named;
    if (!folder)
      return folder.error();
    folders.push_back(*folder);
  }
  return Done{};
}

// What becomes of the classifier's logits, as get_maybe_topk_scalings of PEFT has it.
Status XloraReader::readRoute() {
  auto numberOfFolders = static_cast<int64_t>(folders.size());
  Result<bool> softmax = config.boolean("enable_softmax"), again = config.boolean("enable_softmax_topk");
  Result<double> temperature = config.number("softmax_temperature", 1);
  Result<int64_t> top = count("top_k_lora", numberOfFolders);
  for (const Error *error : {softmax ? nullptr : &softmax.error(), again ? nullptr : &again.error(),
                             temperature ? nullptr : &temperature.error(), top ? nullptr : &top.error()})
    if (error)
      return *error;
  bool isSoft = !config.fields().contains("enable_softmax") || *softmax;
  bool chooses = config.isSet("top_k_lora");
  route.score = isSoft ? RouteScore::Softmax : RouteScore::None;
  route.selection = chooses ? RouteSelection::Top : RouteSelection::All;
  route.top = chooses ? *top : 0;
  if (isSoft)
    route.temperature = *temperature;
  classifier.again = *again;
  if (std::string why = route.whyWrong(numberOfFolders); !why.empty())
    return config.error("top_k_lora", "with softmax_temperature and " + std::to_string(numberOfFolders) +
                                          " adapters: " + why);
  // Equal weights have no best ones: which of them torch takes is not said.
  if (chooses && classifier.passScale != 0 && route.top < numberOfFolders)
    return config.error("scaling_pass_value",
                        "is not 0, and top_k_lora then chooses among equals in the first pass");
  if (classifier.again && classifier.passScale != 0)
    classifier.passScale = 1.0 / static_cast<double>(numberOfFolders);
  return Done{};
}

Status XloraReader::readFields() {
  static const std::set<std::string> known = {"adapters",
                                              "auto_mapping",
                                              "base_model_name_or_path",
                                              "enable_softmax",
                                              "enable_softmax_topk",
                                              "global_scaling_weight",
                                              "hidden_size",
                                              "inference_mode",
                                              "layerwise_scalings",
                                              "peft_type",
                                              "peft_version",
                                              "revision",
                                              "scaling_pass_value",
                                              "softmax_temperature",
                                              "task_type",
                                              "top_k_lora",
                                              "use_trainable_adapters",
                                              "xlora_depth",
                                              "xlora_dropout_p",
                                              "xlora_size"};
  for (const auto &[name, value] : config.fields().items())
    if (config.isSet(name) && !known.count(name))
      return config.error(name, "is unknown and may change the result; set it to null if it does not");
  if (config.isSet("layerwise_scalings"))
    return config.error(
        "layerwise_scalings",
        "is not supported: its weights are in the order in which PyTorch registered the layers, which "
        "neither the folder nor an ONNX graph tells; train with one set of weights for all layers");
  Result<double> pass = config.number("scaling_pass_value", 0),
                 scale = config.number("global_scaling_weight", 1),
                 drop = config.number("xlora_dropout_p", 0.2);
  Result<int64_t> width = count("hidden_size", 4096);
  for (const Error *error : {pass ? nullptr : &pass.error(), scale ? nullptr : &scale.error(),
                             drop ? nullptr : &drop.error(), width ? nullptr : &width.error()})
    if (error)
      return *error;
  if (!std::isfinite(*pass) || !std::isfinite(*scale))
    return config.error("scaling_pass_value", "or global_scaling_weight is no finite number");
  classifier.passScale = *pass;
  weight = *scale;
  dropout = *drop > 0;
  hidden = *width;
  return Done{};
}

// Linears with a ReLU, and where it is trained with one a dropout, between them: layers 0, 3, 6, ... or 0, 2, 4, ...
Status XloraReader::readClassifier(const Safetensors &tensors) {
  std::map<std::string, const Tensor *> all;
  for (const Tensor &tensor : tensors.tensors) {
    const std::string mark = "internal_xlora_classifier.";
    size_t at = tensor.key.find(mark);
    if (at == std::string::npos)
      return wrong(
          tensor, "has no place in an X-LoRA: expected internal_xlora_classifier.layers.<n>.weight or .bias");
    if (!isFloat(tensor.dtype))
      return wrong(tensor, "is " + dtypeName(tensor.dtype) + "; expected float16, bfloat16 or float32");
    if (!all.emplace(tensor.key.substr(at + mark.size()), &tensor).second)
      return wrong(tensor, "is there twice");
  }
  Result<int64_t> depth = count("xlora_depth", 1), size = count("xlora_size", 2048);
  if (!depth)
    return depth.error();
  if (!size)
    return size.error();
  if (*depth > 256)
    return config.error("xlora_depth", "is larger than 256");
  int64_t in = hidden, classes = static_cast<int64_t>(folders.size());
  for (int64_t layer = 0; layer < *depth; ++layer) {
    bool last = layer + 1 == *depth;
    int64_t out = last ? classes : *size;
    std::string name = "layers." + std::to_string(layer * (dropout ? 3 : 2));
    std::pair<Tensor, Tensor> read;
    for (auto [end, shape, place] : {std::tuple(".weight", std::vector<int64_t>{out, in}, &read.first),
                                     {".bias", std::vector<int64_t>{out}, &read.second}}) {
      auto it = all.find(name + end);
      if (it == all.end())
        return Error{file + ": there is no tensor 'internal_xlora_classifier." + name + end +
                     "', which xlora_depth " + std::to_string(*depth) +
                     " asks for; PEFT leaves out tensors of the classifier whose number is "
                     "also an adapter's name, so save its state_dict beside it"};
      const Tensor &tensor = *it->second;
      if (tensor.shape != shape)
        return wrong(tensor, "has shape " + shapeText(tensor.shape) + "; expected " + shapeText(shape));
      Result<Tensor> wide = toF32(tensor);
      if (!wide)
        return wide.error();
      wide->key = tensor.key;
      *place = std::move(*wide);
      all.erase(it);
    }
    classifier.layers.push_back(std::move(read));
    in = out;
  }
  if (!all.empty())
    return wrong(*all.begin()->second,
                 "is none of the " + std::to_string(*depth) + " layers that xlora_depth says");
  return Done{};
}

Status XloraReader::run(const Safetensors &tensors) {
  if (Status status = readFields(); !status)
    return status;
  if (Status status = readFolders(); !status)
    return status;
  if (Status status = readRoute(); !status)
    return status;
  if (Status status = readClassifier(tensors); !status)
    return status;
  Result<ExpertsByModule> modules = readExperts(folders, adapter.hash);
  if (!modules)
    return modules.error();
  for (const auto &[module, parts] : *modules) {
    Update update;
    update.module = module;
    update.parameter = "weight";
    Mixture &mixture = update.mixture.emplace();
    mixture.route = route;
    mixture.classified = true;
    if (Status status =
            stackExperts(parts, static_cast<int64_t>(folders.size()), weight, update, mixture.ranks);
        !status)
      return Error{config.path() + ": " + status.error().message};
    adapter.updates.push_back(std::move(update));
  }
  adapter.classifier = std::move(classifier);
  return Done{};
}

Status readXlora(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
                 Adapter &adapter) {
  return XloraReader(config, file, adapter).run(tensors);
}

} // namespace adapter::checkpoint
