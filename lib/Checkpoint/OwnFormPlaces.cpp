// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where tensors of an OwnForm.h belong, once its definitions are at hand.
#include "lib/Checkpoint/OwnForm.h"
#include "lib/Checkpoint/PeftKeys.h"
#include "lib/Checkpoint/Text.h"
#include <algorithm>

namespace adapter::checkpoint {

namespace {

using Definitions = std::map<std::string, OwnDefinition>;

// Where a key's tensor belongs: the module, empty for shared ones, and the role; the longest role that fits one of the
// module's form.
struct Found {
  std::string module;
  const OwnRole *role = nullptr;
};

Found findRole(const std::string &key, const OwnForm &own, const Definitions &definitions) {
  Found found;
  const std::string shared = "base_model.", path = withoutWrappers(key);
  for (const auto &[form, definition] : definitions)
    for (const OwnRole &role : definition.roles) {
      if (found.role && role.name.size() <= found.role->name.size())
        continue;
      if (role.isShared) {
        if (key == shared + role.name)
          found = {"", &role};
        continue;
      }
      if (path.size() <= role.name.size() + 1 || !endsWith(path, "." + role.name))
        continue;
      std::string module = path.substr(0, path.size() - role.name.size() - 1);
      if (own.formOf(module) == form)
        found = {module, &role};
    }
  return found;
}

// "form 'lora' has the tensors A, B; form ..."
std::string rolesText(const Definitions &definitions) {
  std::string text;
  for (const auto &[form, definition] : definitions) {
    std::string names;
    std::set<std::string> listed; // definitions for kinds of parameters have roles in common
    for (const OwnRole &role : definition.roles)
      if (listed.insert(role.name).second)
        names += (names.empty() ? "" : ", ") + role.name;
    text += (text.empty() ? "form '" : "; form '") + form + "' has the tensors " +
            (names.empty() ? "none" : names);
  }
  return text;
}

} // namespace

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
  // The folder's numbers are those of its form.
  if (update.form == own.form) {
    update.scalars = own.scalars;
    update.attributes = own.attributes;
  }
  if (auto more = own.modules.find(module); more != own.modules.end()) {
    for (const auto &[name, value] : more->second.scalars)
      update.scalars[name] = value;
    for (const auto &[name, value] : more->second.attributes)
      update.attributes[name] = value;
  }
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

Status placeOwnForm(Adapter &adapter, const Definitions &definitions) {
  const OwnForm &own = *adapter.own;
  for (const auto &[form, hash] : own.hashes)
    if (const std::string &expected = definitions.at(form).hash; !hash.empty() && hash != expected)
      return Error{adapter.path + ": form_hash is '" + hash + "', but the definition of '" + form +
                   "' has the hash '" + expected + "'; the adapter was made for another one"};
  std::map<std::string, Update> updates;
  std::map<std::string, Tensor> shared;
  for (const Tensor &tensor : own.tensors) {
    Found found = findRole(tensor.key, own, definitions);
    if (!found.role)
      return Error{own.file + ": tensor '" + tensor.key + "' has no place: " + rolesText(definitions)};
    if (found.role->isShared) {
      shared[found.role->name] = tensor;
      continue;
    }
    Update &update = updates[found.module];
    if (!update.tensors.emplace(found.role->name, tensor).second)
      return Error{own.file + ": tensor '" + tensor.key + "' is there twice"};
  }
  for (const auto &[module, unused] : own.modules)
    if (!updates.count(module))
      return Error{adapter.path + ": modules has '" + module + "', of which there are no tensors"};
  if (updates.empty())
    return Error{own.file + ": holds no tensors of modules"};
  for (auto &[module, update] : updates) {
    auto named = own.modules.find(module);
    const std::string *parameter = named == own.modules.end() ? nullptr : &named->second.parameter;
    bool isWeight = !parameter || parameter->empty();
    update.module = isWeight ? module : module.substr(0, module.size() - parameter->size() - 1);
    update.parameter = isWeight ? "weight" : *parameter;
    update.form = own.formOf(module);
    update.tied = named != own.modules.end() && named->second.tied;
    const OwnDefinition &definition = definitions.at(update.form);
    for (const OwnRole &role : definition.roles)
      if (auto common = shared.find(role.name); role.isShared && common != shared.end())
        update.tensors[role.name] = common->second;
    if (Status status = applyNumbers(adapter, definition, module, update); !status)
      return status;
    adapter.updates.push_back(std::move(update));
  }
  return Done{};
}

} // namespace adapter::checkpoint
