// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See OwnForm.h. Every tensor and every number of the folder is used or an error.
#include "lib/Checkpoint/OwnForm.h"
#include "lib/Checkpoint/PeftKeys.h"
#include "lib/Checkpoint/Text.h"
#include <algorithm>
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

Status readModules(const PeftConfig &config, const Json &modules, OwnForm &own) {
  if (!modules.is_object())
    return config.error("modules", "is not an object by module");
  for (const auto &[module, fields] : modules.items()) {
    if (!fields.is_object())
      return config.error("modules", "has '" + module + "', which is not an object");
    for (const auto &[name, value] : fields.items()) {
      Status status = name == "scalars" ? readScalars(config, "modules", value, own.moduleScalars[module])
                      : name == "attributes"
                          ? readAttributes(config, "modules", value, own.moduleAttributes[module])
                          : config.error("modules", "has '" + name + "' for '" + module +
                                                        "'; a module has scalars and attributes");
      if (!status)
        return status;
    }
  }
  return Done{};
}

// Where a key's tensor belongs: the module, empty for shared ones, and the role; the longest role that fits.
struct Found {
  std::string module;
  const OwnRole *role = nullptr;
};

Found findRole(const std::string &key, const std::vector<OwnRole> &roles) {
  Found found;
  const std::string shared = "base_model.", inModel = "base_model.model.";
  for (const OwnRole &role : roles) {
    bool isLonger = !found.role || role.name.size() > found.role->name.size();
    if (role.isShared && isLonger && key == shared + role.name)
      found = {"", &role};
    std::string path = withoutWrappers(key);
    if (!role.isShared && isLonger && path.size() > role.name.size() + 1 && endsWith(path, "." + role.name))
      found = {path.substr(0, path.size() - role.name.size() - 1), &role};
  }
  return found;
}

} // namespace

Status readOwnForm(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
                   Adapter &adapter) {
  static const std::set<std::string> known = {"attributes", "base_digest", "base_model_name_or_path",
                                              "form",       "form_hash",   "modules",
                                              "peft_type",  "revision",    "scalars"};
  for (const auto &[name, value] : config.fields().items())
    if (!known.count(name))
      return config.error(name, "is unknown and may change the result");
  auto own = std::make_shared<OwnForm>();
  Result<std::string> form = config.text("form"), hash = config.text("form_hash");
  if (!form || !hash)
    return form ? hash.error() : form.error();
  if (form->empty())
    return config.error("form", "is missing: the name of the definition that the adapter is of");
  own->form = *form;
  own->hash = *hash;
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
  adapter.own = std::move(own);
  return Done{};
}

// Every scalar that is given is the definition's, and every one that must be is given.
static Status checkScalars(const Adapter &adapter, const OwnDefinition &definition, const Update &update) {
  std::set<std::string> known, needed;
  for (const OwnScalar &each : definition.scalars)
    known.insert(each.name);
  // One of another kind of parameter may have a default, or none of that name.
  for (const OwnScalar &each : definition.scalars) {
    auto count = [&](bool withDefault) {
      return std::count_if(definition.scalars.begin(), definition.scalars.end(), [&](const OwnScalar &other) {
        return other.name == each.name && (!withDefault || other.byDefault);
      });
    };
    if (count(false) == definition.kinds && count(true) == 0)
      needed.insert(each.name);
  }
  for (const auto &[name, value] : update.scalars)
    if (!known.count(name)) {
      std::string names;
      for (const std::string &each : known)
        names += (names.empty() ? "" : ", ") + each;
      return Error{adapter.path + ": form '" + update.form + "' has no scalar '" + name +
                   "'; its scalars are: " + (names.empty() ? "none" : names)};
    }
  for (const std::string &name : needed)
    if (!update.scalars.count(name))
      return Error{adapter.path + ": form '" + update.form + "' needs the scalar '" + name + "', for '" +
                   update.module + "'; say it in adapter_config.json under scalars"};
  return Done{};
}

static Status applyNumbers(const Adapter &adapter, const OwnDefinition &definition, const std::string &module,
                           Update &update) {
  const OwnForm &own = *adapter.own;
  update.scalars = own.scalars;
  update.attributes = own.attributes;
  if (auto more = own.moduleScalars.find(module); more != own.moduleScalars.end())
    for (const auto &[name, value] : more->second)
      update.scalars[name] = value;
  if (auto more = own.moduleAttributes.find(module); more != own.moduleAttributes.end())
    for (const auto &[name, value] : more->second)
      update.attributes[name] = value;
  if (Status status = checkScalars(adapter, definition, update); !status)
    return status;
  // The scale stands apart, and so does its default.
  for (const OwnScalar &each : definition.scalars)
    if (each.name == "scale" && each.byDefault)
      update.scale = *each.byDefault;
  if (auto scale = update.scalars.find("scale"); scale != update.scalars.end()) {
    update.scale = scale->second;
    update.scalars.erase(scale);
  }
  return Done{};
}

Status placeOwnForm(Adapter &adapter, const OwnDefinition &definition) {
  const std::vector<OwnRole> &roles = definition.roles;
  const OwnForm &own = *adapter.own;
  if (!own.hash.empty() && own.hash != definition.hash)
    return Error{adapter.path + ": form_hash is '" + own.hash + "', but the definition of '" + own.form +
                 "' has the hash '" + definition.hash + "'; the adapter was made for another one"};
  std::map<std::string, Update> updates;
  std::map<std::string, Tensor> shared;
  for (const Tensor &tensor : own.tensors) {
    Found found = findRole(tensor.key, roles);
    if (!found.role) {
      std::string names;
      for (const OwnRole &role : roles)
        names += (names.empty() ? "" : ", ") + role.name;
      return Error{own.file + ": tensor '" + tensor.key + "' has no place: form '" + own.form +
                   "' has the tensors " + (names.empty() ? "none" : names)};
    }
    if (found.role->isShared) {
      shared[found.role->name] = tensor;
      continue;
    }
    Update &update = updates[found.module];
    if (!update.tensors.emplace(found.role->name, tensor).second)
      return Error{own.file + ": tensor '" + tensor.key + "' is there twice"};
  }
  for (const auto &[module, unused] : own.moduleScalars)
    if (!updates.count(module))
      return Error{adapter.path + ": modules has '" + module + "', of which there are no tensors"};
  for (const auto &[module, unused] : own.moduleAttributes)
    if (!updates.count(module))
      return Error{adapter.path + ": modules has '" + module + "', of which there are no tensors"};
  if (updates.empty())
    return Error{own.file + ": holds no tensors of modules"};
  for (auto &[module, update] : updates) {
    update.module = module;
    update.parameter = "weight";
    update.form = own.form;
    for (const auto &[role, tensor] : shared)
      update.tensors[role] = tensor;
    if (Status status = applyNumbers(adapter, definition, module, update); !status)
      return status;
    adapter.updates.push_back(std::move(update));
  }
  return Done{};
}

} // namespace adapter::checkpoint
