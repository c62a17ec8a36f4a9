// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See PeftReader.h. Follows peft/utils/save_and_load.py of PEFT 0.21; where PEFT skips a tensor or a setting
// with a warning or in silence, this is an error.
#include "lib/Checkpoint/PeftReader.h"
#include "lib/Checkpoint/DType.h"

namespace adapter::checkpoint {

namespace {

// Fields of every method without a bearing on the result, and those that are obeyed for every method.
const std::set<std::string> commonFields = {"auto_mapping",
                                            "base_model_name_or_path",
                                            "bias",
                                            "exclude_modules",
                                            "fan_in_fan_out",
                                            "inference_mode",
                                            "layers_pattern",
                                            "layers_to_transform",
                                            "modules_to_save",
                                            "peft_type",
                                            "peft_version",
                                            "revision",
                                            "runtime_config",
                                            "target_modules",
                                            "task_type"};

bool strip(std::string &text, const std::string &end) {
  if (text.size() <= end.size() || text.compare(text.size() - end.size(), end.size(), end))
    return false;
  text.resize(text.size() - end.size());
  return true;
}

} // namespace

Update &PeftReader::add(const std::string &path, const std::string &parameter, const std::string &form) {
  Update update;
  update.module = path;
  update.parameter = parameter;
  update.form = form;
  adapter.updates.push_back(std::move(update));
  return adapter.updates.back();
}

Status PeftReader::checkFields() const {
  for (const auto &[name, value] : config.fields().items()) {
    if (!config.isSet(name))
      continue;
    if (auto it = refusedFields().find(name); it != refusedFields().end())
      return config.error(name, std::string("is not supported: ") + it->second);
    if (!commonFields.count(name) && !knownFields().count(name))
      return config.error(name, "is unknown and may change the result; set it to null if it does not");
  }
  Result<std::string> bias = config.text("bias");
  if (!bias)
    return bias.error();
  const std::string only = adapter.method + "_only";
  if (!bias->empty() && *bias != "none" && *bias != "all" && *bias != only)
    return config.error("bias", "is '" + *bias + "'; expected none, all or " + only);
  return checkMethod();
}

Status PeftReader::place(const Tensor &tensor) {
  std::string path = tensor.key;
  const std::string prefix = "base_model.model.";
  if (path.rfind(prefix, 0) == 0)
    path.erase(0, prefix.size());
  bool isValue = isFloat(tensor.dtype);
  for (const Place &each : places())
    if (strip(path, each.end)) {
      // Files saved on Windows hold indices as float32.
      if (!isValue && !each.integers)
        return wrong(tensor, "is " + dtypeName(tensor.dtype) + "; expected float16, bfloat16 or float32");
      const Tensor *&slot = modules[path].tuned[each.role];
      if (slot)
        return wrong(tensor, "says the same as '" + slot->key + "'");
      slot = &tensor;
      return Done{};
    }
  if (!isValue)
    return wrong(tensor, "is " + dtypeName(tensor.dtype) + "; expected float16, bfloat16 or float32");
  // What remains is a parameter of the base: <module>[.base_layer | .modules_to_save[.<adapter>]].<parameter>
  for (const char *mark : {".lora_", ".original_module.", ".token_adapter."})
    if (path.find(mark) != std::string::npos)
      return wrong(tensor, "has no place in an adapter of type " + adapter.method);
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

// Whether the configuration explains a whole parameter of the base. PEFT would load any.
Status PeftReader::checkPlain(const std::string &path, const std::string &parameter,
                              const Module &module) const {
  const Tensor &tensor = *module.plain.at(parameter);
  Result<bool> saved = config.isSaved(path);
  if (!saved)
    return saved.error();
  Result<std::string> bias = config.text("bias");
  // Embeddings and heads are saved along whole when they are adapted or the vocabulary was resized, also
  // under names that the configuration does not list.
  bool table = module.plain.count("weight") && module.plain.at("weight")->shape.size() == 2;
  if (*saved || (parameter == "weight" && table) || (parameter == "bias" && table) ||
      (parameter == "bias" &&
       (*bias == "all" || (*bias == adapter.method + "_only" && !module.tuned.empty()))))
    return Done{};
  return wrong(tensor, "has no place: neither modules_to_save nor bias in " + config.path() + " explains it");
}

// Whole parameters come first; what the method itself does acts on them.
Status PeftReader::readWhole(const std::string &path, const Module &module) {
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
  return Done{};
}

Status PeftReader::run(const Safetensors &tensors) {
  if (Status status = checkFields(); !status)
    return status;
  for (const Tensor &tensor : tensors.tensors)
    if (Status status = place(tensor); !status)
      return status;
  for (const auto &[path, module] : modules) {
    if (Status status = readWhole(path, module); !status)
      return status;
    if (module.tuned.empty())
      continue;
    if (Status status = readTuned(path, module); !status)
      return status;
  }
  return Done{};
}

} // namespace adapter::checkpoint
