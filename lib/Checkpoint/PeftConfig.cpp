// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter_config.json; see PeftConfig.h.
#include "lib/Checkpoint/PeftConfig.h"
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Regex.h"
#include "lib/Checkpoint/Text.h"
#include <cmath>

namespace adapter::checkpoint {

Result<PeftConfig> PeftConfig::read(const std::string &path) {
  Result<MappedFile> file = mapFile(path);
  if (!file)
    return file.error();
  if (file->size > (64u << 20))
    return Error{path + ": larger than 64 MiB"};
  Result<Json> json = parseJson(file->text(), path);
  if (!json)
    return json.error();
  if (!json->is_object())
    return Error{path + ": no JSON object"};
  return PeftConfig(path, std::move(*json));
}

Error PeftConfig::error(const std::string &field, const std::string &problem) const {
  return Error{file + ": field '" + field + "' " + problem};
}

bool PeftConfig::isSet(const std::string &field) const {
  auto it = json.find(field);
  if (it == json.end() || it->is_null())
    return false;
  if (it->is_boolean())
    return it->get<bool>();
  return it->is_number() || !it->empty();
}

Result<bool> PeftConfig::boolean(const std::string &field) const {
  auto it = json.find(field);
  if (it == json.end() || it->is_null())
    return false;
  if (!it->is_boolean())
    return error(field, "is neither true nor false");
  return it->get<bool>();
}

Result<double> PeftConfig::number(const std::string &field, double missing) const {
  auto it = json.find(field);
  if (it == json.end() || it->is_null())
    return missing;
  if (!it->is_number())
    return error(field, "is no number");
  return it->get<double>();
}

Result<int64_t> PeftConfig::count(const std::string &field, int64_t missing) const {
  Result<double> value = number(field, static_cast<double>(missing));
  if (!value)
    return value.error();
  if (*value < 1 || *value > 1e9 || *value != std::floor(*value))
    return error(field, "is not a positive whole number");
  return static_cast<int64_t>(*value);
}

Result<std::string> PeftConfig::text(const std::string &field) const {
  auto it = json.find(field);
  if (it == json.end() || it->is_null())
    return std::string();
  if (!it->is_string())
    return error(field, "is no text");
  return it->get<std::string>();
}

Result<std::vector<std::string>> PeftConfig::names(const std::string &field) const {
  std::vector<std::string> result;
  auto it = json.find(field);
  if (it == json.end() || it->is_null())
    return result;
  if (it->is_string())
    return std::vector<std::string>{it->get<std::string>()};
  if (!it->is_array())
    return error(field, "is no list of names");
  for (const Json &each : *it) {
    if (!each.is_string())
      return error(field, "is no list of names");
    result.push_back(each.get<std::string>());
  }
  return result;
}

Result<std::vector<double>> PeftConfig::pattern(const std::string &field, const std::string &module,
                                                double missing) const {
  std::vector<double> values;
  auto it = json.find(field);
  if (it == json.end() || it->is_null())
    return std::vector<double>{missing};
  if (!it->is_object())
    return error(field, "is no dictionary of numbers by module");
  for (const auto &[key, value] : it->items()) {
    std::optional<bool> matches = regexMatches("(.*\\.)?(" + key + ")", module);
    if (matches && !*matches)
      continue;
    if (!value.is_number())
      return error(field, "has no number under '" + key + "'");
    values.push_back(value.get<double>());
    if (matches)
      return values;
  }
  values.push_back(missing);
  return values;
}

// A text is a regular expression for the whole path; a list holds suffixes of whole components.
Result<std::optional<bool>> PeftConfig::namesModule(const std::string &field,
                                                    const std::string &module) const {
  if (json.at(field).is_string())
    return regexMatches(json.at(field).get<std::string>(), module);
  Result<std::vector<std::string>> list = names(field);
  if (!list)
    return list.error();
  for (const std::string &name : *list)
    if (module == name || endsWith(module, "." + name))
      return std::optional<bool>(true);
  return std::optional<bool>(false);
}

Result<bool> PeftConfig::layerSelected(const std::string &module) const {
  Result<std::vector<std::string>> patterns = names("layers_pattern");
  if (!patterns)
    return patterns.error();
  // PEFT takes the first number behind the pattern, or behind any component but the first.
  std::vector<std::string> prefixes;
  for (const std::string &pattern : *patterns)
    prefixes.push_back("(?:|.*?\\.)(?:" + pattern + ")\\.");
  if (prefixes.empty())
    prefixes.push_back(".*?\\.[^.]*\\.");
  std::optional<std::string> index;
  for (size_t dot = 0; !index && (dot = module.find('.', dot)) != std::string::npos; ++dot) {
    size_t end = module.find('.', dot + 1);
    std::string number = end == std::string::npos ? "" : module.substr(dot + 1, end - dot - 1);
    if (number.empty() || number.size() > 9 || number.find_first_not_of("0123456789") != std::string::npos)
      continue;
    for (const std::string &prefix : prefixes) {
      std::optional<bool> matches = regexMatches(prefix, module.substr(0, dot + 1));
      if (!matches)
        return true;
      if (*matches)
        index = number;
    }
  }
  if (!index)
    return false;
  const Json &layers = json.at("layers_to_transform");
  auto equals = [&](const Json &layer) { return layer.is_number_integer() && layer == std::stoll(*index); };
  if (!layers.is_array())
    return equals(layers);
  for (const Json &layer : layers)
    if (equals(layer))
      return true;
  return false;
}

Result<std::string> PeftConfig::whyNotTarget(const std::string &module) const {
  if (isSet("exclude_modules")) {
    Result<std::optional<bool>> excluded = namesModule("exclude_modules", module);
    if (!excluded)
      return excluded.error();
    if (excluded->value_or(false))
      return std::string("exclude_modules excludes it");
  }
  if (isSet("target_modules") && json["target_modules"] != "all-linear") {
    Result<std::optional<bool>> targeted = namesModule("target_modules", module);
    if (!targeted)
      return targeted.error();
    if (!targeted->value_or(true))
      return std::string("target_modules does not name it");
  }
  bool listed = isSet("target_modules") && json["target_modules"].is_array();
  if (listed && isSet("layers_to_transform")) {
    Result<bool> selected = layerSelected(module);
    if (!selected)
      return selected.error();
    if (!*selected)
      return std::string("layers_to_transform does not name its layer");
  }
  return std::string();
}

Result<bool> PeftConfig::isSaved(const std::string &path) const {
  Result<std::vector<std::string>> saved = names("modules_to_save");
  if (!saved)
    return saved.error();
  for (size_t end = path.find('.');; end = path.find('.', end + 1)) {
    std::string part = path.substr(0, end);
    for (const std::string &name : *saved)
      if (!name.empty() && endsWith(part, name))
        return true;
    if (end == std::string::npos)
      return false;
  }
}

} // namespace adapter::checkpoint
