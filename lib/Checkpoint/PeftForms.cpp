// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See FormReader.h. What rows of the tables have in common.
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/FormReader.h"
#include "lib/Checkpoint/Text.h"
#include <cmath>
#include <cstring>

namespace adapter::checkpoint {

Status FormReader::takeSwitch(const char *field, const char *attribute, Update &update) const {
  Result<bool> value = config.boolean(field);
  if (!value)
    return value.error();
  update.attributes[attribute] = *value;
  return Done{};
}

Status FormReader::takeCount(const char *field, int64_t missing, const char *attribute,
                             Update &update) const {
  Result<int64_t> value = config.count(field, missing);
  if (!value)
    return value.error();
  update.attributes[attribute] = *value;
  return Done{};
}

Status FormReader::takeScale(const char *field, double missing, Update &update) const {
  Result<double> value = config.number(field, missing);
  if (!value)
    return value.error();
  update.scale = *value;
  return std::isfinite(*value) ? Status(Done{}) : config.error(field, "is not a finite number");
}

Status FormReader::takeAlpha(const std::string &path, Update &update) const {
  Result<double> r = config.number("r", 8), alpha = config.number("alpha", 8);
  if (!r || !alpha)
    return r ? alpha.error() : r.error();
  Result<std::vector<double>> ranks = config.pattern("rank_pattern", path, *r),
                              alphas = config.pattern("alpha_pattern", path, *alpha);
  if (!ranks || !alphas)
    return ranks ? alphas.error() : ranks.error();
  for (const auto &[field, values] : {std::pair("rank_pattern", &*ranks), {"alpha_pattern", &*alphas}})
    if (static_cast<size_t>(std::count(values->begin(), values->end(), values->back())) != values->size())
      return config.error(field,
                          "has a key before the one for '" + path +
                              "' that cannot be read as a regular expression here and may match; write the "
                              "module's path in full");
  update.scale = alphas->back() / ranks->back();
  return std::isfinite(update.scale) ? Status(Done{}) : config.error("alpha", "gives no finite scale");
}

Status FormReader::refuseRole(const Module &module, const char *role, const char *why) const {
  const Tensor *tensor = module.role(role);
  return tensor ? wrong(*tensor, std::string("is not supported: ") + why) : Status(Done{});
}

Status FormReader::takeShared(const std::string &role, const std::string &name, const std::string &path,
                              Update &update) {
  auto found = shared.find(role + "." + name);
  if (found == shared.end())
    return Error{file + ": '" + role + "." + name + "', which the module '" + path + "' needs, is missing"};
  taken.insert(found->first);
  update.tensors[role] = *found->second;
  return Done{};
}

Status FormReader::stack(const std::string &role, const Module &module, Update &update) const {
  std::vector<const Tensor *> parts;
  while (const Tensor *tensor = module.role(role + "." + std::to_string(parts.size())))
    parts.push_back(tensor);
  size_t named = 0;
  for (const auto &[name, tensor] : module.tuned)
    named += startsWith(name, role + ".");
  for (const Tensor *tensor : parts)
    if (tensor->shape != parts[0]->shape || tensor->dtype != parts[0]->dtype)
      return wrong(*tensor, "has shape " + shapeText(tensor->shape) + " and type " +
                                dtypeName(tensor->dtype) + ", but '" + parts[0]->key + "' " +
                                shapeText(parts[0]->shape) + " and " + dtypeName(parts[0]->dtype));
  if (named != parts.size())
    return wrong(*module.tuned.lower_bound(role + ".")->second,
                 "and others of its module are not numbered 0, 1, ...");
  if (parts.empty())
    return Done{};
  std::vector<int64_t> shape = parts[0]->shape;
  shape.insert(shape.begin(), static_cast<int64_t>(parts.size()));
  Tensor all = allocateTensor(parts[0]->dtype, shape);
  all.key = parts[0]->key;
  for (size_t i = 0; i < parts.size(); ++i) {
    std::memcpy(mutableData(all) + i * parts[0]->bytes, parts[i]->data, parts[0]->bytes);
    update.tensors.erase(role + "." + std::to_string(i));
  }
  update.tensors[role] = std::move(all);
  return Done{};
}

static const Methods &methods() {
  static const Methods all = [] {
    Methods table = lowRankMethods();
    for (const auto *more : {&differenceMethods(), &multiplicativeMethods()})
      table.insert(more->begin(), more->end());
    return table;
  }();
  return all;
}

std::vector<PeftReader::Place> FormReader::places() const { return method.places; }
const std::set<std::string> &FormReader::knownFields() const { return method.known; }
const std::map<std::string, const char *> &FormReader::refusedFields() const { return method.refused; }

Status FormReader::readTuned(const std::string &path, const Module &module) {
  Result<std::string> reason = whyNotTarget(path, module);
  if (!reason)
    return reason.error();
  if (!reason->empty())
    return wrong(*module.tuned.begin()->second, "does not fit its configuration: " + *reason);
  Update update = made(path, "weight", method.form);
  for (const auto &[role, tensor] : module.tuned)
    update.tensors[role] = *tensor;
  for (const Place &place : method.places)
    if (auto tensor = shared.find(place.role); place.shared && tensor != shared.end()) {
      update.tensors[place.role] = *tensor->second;
      taken.insert(place.role);
    }
  if (Status status = method.finish ? method.finish(*this, path, module, update) : Status(Done{}); !status)
    return status;
  if (!update.form.empty())
    adapter.updates.push_back(std::move(update));
  for (Update &each : more)
    adapter.updates.push_back(std::move(each));
  more.clear();
  return Done{};
}

Status FormReader::checkAll() const {
  for (const auto &[role, tensor] : shared)
    if (!taken.count(role))
      return wrong(*tensor, "is of no module of the file");
  return Done{};
}

std::vector<std::string> peftFormTypes() {
  std::vector<std::string> types;
  for (const auto &[type, method] : methods())
    types.push_back(type);
  return types;
}

Status readPeftForm(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
                    Adapter &adapter) {
  return FormReader(methods().at(adapter.method), config, file, adapter).run(tensors);
}

} // namespace adapter::checkpoint
