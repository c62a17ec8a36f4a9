// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See PeftReader.h. Follows peft/utils/save_and_load.py of PEFT 0.21; where PEFT skips a tensor or a setting
// with a warning or in silence, this is an error.
#include "lib/Checkpoint/PeftReader.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/PeftKeys.h"
#include "lib/Checkpoint/Text.h"

namespace adapter::checkpoint {

namespace {

// Fields of every method without a bearing on the result, and those that are obeyed for every method.
const std::set<std::string> commonFields = {"auto_mapping",
                                            "base_digest",
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

} // namespace

// A layer of a layer that was wrapped itself: <attention>.base_layer.out_proj.
static std::string withoutBaseLayers(std::string path) {
  for (const std::string infix = ".base_layer."; size_t at = path.find(infix) + 1;)
    path.erase(at, infix.size() - 1);
  return path;
}

Update PeftReader::made(const std::string &path, const std::string &parameter,
                        const std::string &form) const {
  Update update;
  update.module = withoutBaseLayers(path);
  update.parameter = parameter;
  update.form = form;
  return update;
}

Update &PeftReader::add(const std::string &path, const std::string &parameter, const std::string &form) {
  adapter.updates.push_back(made(path, parameter, form));
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

Result<std::string> PeftReader::whyNotTarget(const std::string &path, const Module &module) const {
  Result<std::string> reason = config.whyNotTarget(path);
  if (!reason || reason->empty() || module.named.empty() || module.named == path)
    return reason;
  Result<std::string> other = config.whyNotTarget(module.named);
  return other && !other->empty() ? reason : other;
}

// Keys of several adapters would be parts of different ones that look like one.
Status PeftReader::checkName(const std::string &name, const Tensor &tensor) {
  if (name.empty() || (firstNamed && name == adapterName))
    return Done{};
  if (firstNamed)
    return wrong(tensor, "is of an adapter '" + name + "', but '" + firstNamed->key + "' of '" + adapterName +
                             "': two adapters in one file; save the one that is meant alone, "
                             "save_pretrained(..., selected_adapters=['" +
                             adapterName + "'])");
  firstNamed = &tensor;
  adapterName = name;
  return Done{};
}

Status PeftReader::put(const Tensor *&held, const Tensor &tensor) const {
  if (held)
    return wrong(tensor, "says the same as '" + held->key + "'");
  held = &tensor;
  return Done{};
}

Status PeftReader::checkType(const Tensor &tensor, const Place &place) const {
  // Files saved on Windows hold indices as float32.
  if (!isFloat(tensor.dtype) && !place.integers)
    return wrong(tensor, "is " + dtypeName(tensor.dtype) + "; expected float16, bfloat16 or float32");
  return Done{};
}

// Takes the end of a place off a path; `role` is what the tensor is then.
static bool stripPlace(std::string &path, const char *end, std::string &name, std::string &role) {
  std::string text = end;
  size_t star = text.find('*');
  if (star == std::string::npos)
    return stripEnd(path, text, name);
  std::string head = text.substr(0, star), tail = text.substr(star + 1);
  name.clear();
  if (!endsWith(path, tail))
    return false;
  size_t stop = path.size() - tail.size(), dot = stop ? path.rfind('.', stop - 1) : std::string::npos;
  if (dot == std::string::npos || dot + 1 == stop || dot + 1 <= head.size() ||
      path.compare(dot + 1 - head.size(), head.size(), head))
    return false;
  role += "." + path.substr(dot + 1, stop - dot - 1);
  path.resize(dot + 1 - head.size());
  return true;
}

Status PeftReader::placeTuned(const Tensor &tensor, const Place &place, const std::string &role,
                              const std::string &path, const std::string &named) {
  if (Status status = checkType(tensor, place); !status)
    return status;
  Module &module = modules[path];
  module.named = named;
  return put(module.tuned[role], tensor);
}

// base_model.<role>[.<adapter>]
Result<bool> PeftReader::placeShared(const Tensor &tensor, const std::string &path) {
  for (const Place &each : places()) {
    std::string module = path, name, role = each.role;
    if (!each.shared || !stripPlace(module, each.end, name, role) ||
        (module != "base_model" && !module.empty()))
      continue;
    if (Status status = name.empty() ? Status(Done{}) : checkName(name, tensor); !status)
      return status.error();
    if (Status status = checkType(tensor, each); !status)
      return status.error();
    if (Status status = put(shared[role], tensor); !status)
      return status.error();
    return true;
  }
  return false;
}

Status PeftReader::place(const Tensor &tensor) {
  const std::string path = withoutWrappers(tensor.key), prefix = "base_model.model.";
  std::string named = startsWith(tensor.key, prefix) ? tensor.key.substr(prefix.size()) : tensor.key;
  if (Result<bool> isShared = placeShared(tensor, path); !isShared || *isShared)
    return isShared ? Status(Done{}) : isShared.error();
  // Without an adapter's name first: "weight" could be one.
  for (bool withName : {false, true})
    for (const Place &each : places()) {
      std::string module = path, name, role = each.role, unused;
      if (each.shared || !stripPlace(module, each.end, name, role) || name.empty() == withName)
        continue;
      if (Status status = checkName(name, tensor); !status)
        return status;
      stripPlace(named, each.end, name, unused);
      return placeTuned(tensor, each, role, module, named);
    }
  return placeWhole(tensor, path);
}

// A parameter of the base: <module>[.base_layer | .modules_to_save[.<adapter>]].<parameter>
Status PeftReader::placeWhole(const Tensor &tensor, std::string path) {
  for (const char *mark : {".lora_", ".original_module.", ".token_adapter."})
    if (path.find(mark) != std::string::npos)
      return wrong(tensor, "has no place in an adapter of type " + adapter.method);
  size_t dot = path.rfind('.');
  if (dot == std::string::npos || dot == 0 || dot + 1 == path.size())
    return wrong(tensor, "has no place: its name has no module path");
  std::string parameter = path.substr(dot + 1);
  path.resize(dot);
  auto Module::*where = &Module::plain;
  const std::string infix = ".modules_to_save", base = ".base_layer";
  if (size_t at = path.find(infix + "."); at != std::string::npos) {
    // A saved module may hold modules of its own behind the adapter's name.
    size_t start = at + infix.size() + 1, inner = path.find('.', start);
    if (Status status = checkName(path.substr(start, std::min(inner, path.size()) - start), tensor); !status)
      return status;
    path = path.substr(0, at) + (inner == std::string::npos ? "" : path.substr(inner));
    where = &Module::saved;
  } else if (endsWith(path, infix)) {
    path.resize(path.size() - infix.size());
    where = &Module::saved;
  } else if (endsWith(path, base)) {
    path.resize(path.size() - base.size());
    where = &Module::base;
  }
  if (!isFloat(tensor.dtype))
    where = &Module::buffers;
  return put((modules[path].*where)[parameter], tensor);
}

// Buffers of modules that were saved whole and hold integers: none is trained, but a graph may have others.
Status PeftReader::checkBuffers(const std::string &path, const Module &module) const {
  for (const auto &[parameter, tensor] : module.buffers) {
    Result<bool> saved = config.isSaved(path);
    if (!saved)
      return saved.error();
    // Of a BatchNorm: how many batches training has seen.
    auto has = [&](const char *name) { return module.plain.count(name) || module.saved.count(name); };
    if (*saved && parameter == "num_batches_tracked" && has("running_mean"))
      continue;
    // In the models of transformers always 0, 1, 2, ...
    Result<Tensor> numbers = toI64(*tensor);
    bool counts = *saved && parameter == "position_ids" && numbers;
    const auto *values = counts ? reinterpret_cast<const int64_t *>(numbers->data) : nullptr;
    for (int64_t i = 0; counts && i < numbers->elements(); ++i)
      counts = values[i] == i;
    if (!counts)
      return wrong(*tensor,
                   "is " + dtypeName(tensor->dtype) +
                       "; expected float16, bfloat16 or float32. If it is a buffer that the graph has "
                       "as it is here, leave it out of the file");
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
  // PEFT's "all" is whatever has "bias" in its name, as in_proj_bias of a MultiheadAttention has.
  if (*saved || (parameter == "weight" && table) || (parameter == "bias" && table) ||
      (*bias == "all" && endsWith(parameter, "bias")) ||
      (parameter == "bias" && *bias == adapter.method + "_only" && !module.tuned.empty()))
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
  if (Status status = checkBuffers(path, module); !status)
    return status;
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
  std::map<std::string, std::string> written; // by module
  for (const auto &[path, module] : modules)
    if (const std::string &other = written.emplace(withoutBaseLayers(path), path).first->second;
        other != path)
      return Error{file + ": '" + other + "' and '" + path + "' are one module"};
  for (const auto &[path, module] : modules) {
    if (Status status = readWhole(path, module); !status)
      return status;
    if (module.tuned.empty())
      continue;
    if (Status status = readTuned(path, module); !status)
      return status;
  }
  return checkAll();
}

} // namespace adapter::checkpoint
