// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See OwnForm.h. Every tensor and every number of the folder is used or an error.
#include "lib/Checkpoint/OwnForm.h"
#include "lib/Checkpoint/Text.h"
#include <cmath>
#include <set>

namespace adapter::checkpoint {

namespace {

// {"scale": 2.0}
Status readScalars(const PeftConfig &config, const std::string &where, const Json &object,
                   std::map<std::string, double> &into) {
  if (!object.is_object())
    return config.error(where, "is not an object of numbers");
  for (const auto &[name, value] : object.items()) {
    if (!value.is_number() || !std::isfinite(value.get<double>()))
      return config.error(where, "has '" + name + "', which is not a finite number");
    into[name] = value.get<double>();
  }
  return Done{};
}

Status readAttributes(const PeftConfig &config, const std::string &where, const Json &object,
                      std::map<std::string, int64_t> &into) {
  if (!object.is_object())
    return config.error(where, "is not an object of whole numbers");
  for (const auto &[name, value] : object.items()) {
    if (!value.is_number_integer())
      return config.error(where, "has '" + name + "', which is not a whole number");
    into[name] = value.get<int64_t>();
  }
  return Done{};
}

// The form or the parameter of a module: a word.
Status readWord(const PeftConfig &config, const std::string &module, const std::string &field,
                const Json &value, std::string &into) {
  if (!value.is_string() || value.get<std::string>().empty())
    return config.error("modules", "has for '" + module + "' a " + field + " that is not a name");
  into = value.get<std::string>();
  return Done{};
}

Status readTied(const PeftConfig &config, const std::string &path, const Json &value, bool &into) {
  if (!value.is_boolean())
    return config.error("modules", "has for '" + path + "' a tied that is neither true nor false");
  into = value.get<bool>();
  return Done{};
}

Status readModule(const PeftConfig &config, const std::string &path, const Json &fields, OwnModule &module) {
  for (const auto &[name, value] : fields.items()) {
    Status status = name == "scalars"      ? readScalars(config, "modules", value, module.scalars)
                    : name == "attributes" ? readAttributes(config, "modules", value, module.attributes)
                    : name == "form"       ? readWord(config, path, name, value, module.form)
                    : name == "tied"       ? readTied(config, path, value, module.tied)
                    : name == "parameter"
                        ? readWord(config, path, name, value, module.parameter)
                        : config.error("modules", "has '" + name + "' for '" + path +
                                                      "'; a module has form, parameter, tied, scalars and "
                                                      "attributes");
    if (!status)
      return status;
  }
  const std::string &parameter = module.parameter;
  if (!parameter.empty() && (parameter.find('.') != std::string::npos ||
                             path.size() <= parameter.size() + 1 || !endsWith(path, "." + parameter)))
    return config.error("modules", "has for '" + path + "' the parameter '" + parameter +
                                       "', which is not the last word of that path");
  return Done{};
}

Status readModules(const PeftConfig &config, const Json &modules, OwnForm &own) {
  if (!modules.is_object())
    return config.error("modules", "is not an object by module");
  for (const auto &[module, fields] : modules.items()) {
    if (!fields.is_object())
      return config.error("modules", "has '" + module + "', which is not an object");
    if (Status status = readModule(config, module, fields, own.modules[module]); !status)
      return status;
  }
  return Done{};
}

// A hash of the folder's form, or hashes by form.
Status readHashes(const PeftConfig &config, const Json &value, OwnForm &own) {
  if (value.is_null())
    return Done{};
  if (value.is_string()) {
    if (own.form.empty())
      return config.error("form_hash", "is one hash, but there is no form; give hashes by form");
    own.hashes[own.form] = value.get<std::string>();
    return Done{};
  }
  if (!value.is_object())
    return config.error("form_hash", "is neither a hash nor an object of hashes by form");
  for (const auto &[form, hash] : value.items()) {
    if (!hash.is_string())
      return config.error("form_hash", "has for '" + form + "' what is not a hash");
    if (!own.forms().count(form))
      return config.error("form_hash", "names the form '" + form + "', which no module has");
    own.hashes[form] = hash.get<std::string>();
  }
  return Done{};
}

} // namespace

std::set<std::string> OwnForm::forms() const {
  std::set<std::string> all;
  if (!form.empty())
    all.insert(form);
  for (const auto &[path, module] : modules)
    if (!module.form.empty())
      all.insert(module.form);
  return all;
}

const std::string &OwnForm::formOf(const std::string &module) const {
  auto named = modules.find(module);
  return named == modules.end() || named->second.form.empty() ? form : named->second.form;
}

Status readOwnForm(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
                   Adapter &adapter) {
  static const std::set<std::string> known = {"attributes", "base_digest", "base_model_name_or_path",
                                              "form",       "form_hash",   "modules",
                                              "peft_type",  "revision",    "scalars"};
  for (const auto &[name, value] : config.fields().items())
    if (!known.count(name))
      return config.error(name, "is unknown and may change the result");
  auto own = std::make_shared<OwnForm>();
  Result<std::string> form = config.text("form");
  if (!form)
    return form.error();
  own->form = *form;
  own->file = file;
  own->tensors = tensors.tensors;
  const Json &fields = config.fields();
  if (auto it = fields.find("scalars"); it != fields.end())
    if (Status status = readScalars(config, "scalars", *it, own->scalars); !status)
      return status;
  if (auto it = fields.find("attributes"); it != fields.end())
    if (Status status = readAttributes(config, "attributes", *it, own->attributes); !status)
      return status;
  if (auto it = fields.find("modules"); it != fields.end())
    if (Status status = readModules(config, *it, *own); !status)
      return status;
  if (own->forms().empty())
    return config.error("form", "is missing: the name of the definition that the adapter is of");
  if (own->form.empty())
    for (auto [field, isGiven] :
         {std::pair("scalars", !own->scalars.empty()), {"attributes", !own->attributes.empty()}})
      if (isGiven)
        return config.error(field, "is of the folder's form, and there is none; modules have their own");
  if (auto it = fields.find("form_hash"); it != fields.end())
    if (Status status = readHashes(config, *it, *own); !status)
      return status;
  adapter.own = std::move(own);
  return Done{};
}

} // namespace adapter::checkpoint
