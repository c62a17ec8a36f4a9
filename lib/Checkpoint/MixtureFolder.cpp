// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// This project's folder for any mixture of LoRAs, peft_type ADAPTER_OPT_MIXTURE: the experts are LoRA folders of their
// own, `adapters`; `router` says in full what the routers do; adapter_model.safetensors holds them, as
// <module>.router.weight [logits, in] and .bias [logits]; or with scope task .router.logits [tasks, logits], of which
// `task` is taken. A router that several modules share stands under a name of its own in `routers`, with the modules
// and the one of them whose input it reads. See docs/routers.md.
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Experts.h"
#include <cmath>
#include <cstring>
#include <set>

namespace adapter::checkpoint {

namespace {

struct Router {
  const Tensor *weight = nullptr, *bias = nullptr, *logits = nullptr;
  const Tensor &any() const { return weight ? *weight : bias ? *bias : *logits; }
};

class MixtureReader {
public:
  MixtureReader(const PeftConfig &config, const std::string &file, Adapter &adapter)
      : config(config), file(file), adapter(adapter), routerConfig(config) {}
  Status run(const Safetensors &tensors);

private:
  Status checkFields() const;
  Status readRoute();
  Status readRouters(const Safetensors &tensors);
  Status readShared();
  Status readModule(const std::string &module, const std::map<int64_t, Expert> &experts);
  Status setRouter(const std::string &name, const Router &router, Update &update) const;
  Result<int64_t> count(const std::string &field) const;
  template <typename Enum>
  Status setWord(const std::string &field, Enum &value, const std::string &wrong) const;

  Error wrong(const Tensor &tensor, const std::string &problem) const {
    return Error{file + ": tensor '" + tensor.key + "' " + problem};
  }

  const PeftConfig &config;
  const std::string &file;
  Adapter &adapter;
  PeftConfig routerConfig;
  Route route;
  int64_t task = -1, experts = 0;
  std::map<std::string, Router> routers; // by module or name
  struct Shared {
    std::string router, reads;
  };
  std::map<std::string, Shared> shared; // by module
  std::set<std::string> used;           // routers
};

} // namespace

Status MixtureReader::checkFields() const {
  static const std::set<std::string> known = {"adapters",       "base_model_name_or_path",
                                              "inference_mode", "peft_type",
                                              "peft_version",   "router",
                                              "routers",        "task_type"};
  for (const auto &[name, value] : config.fields().items())
    if (config.isSet(name) && !known.count(name))
      return config.error(name, "is unknown and may change the result; set it to null if it does not");
  return Done{};
}

// A whole number; 0 where there is none.
Result<int64_t> MixtureReader::count(const std::string &field) const {
  Result<double> number = routerConfig.number(field, 0);
  if (!number)
    return number.error();
  if (*number != std::floor(*number) || *number < 0 || *number > 1e6)
    return routerConfig.error("router." + field, "is no whole number from 0 on");
  return static_cast<int64_t>(*number);
}

// One of the words of an enumeration.
template <typename Enum>
Status MixtureReader::setWord(const std::string &field, Enum &value, const std::string &wrong) const {
  Result<std::string> text = routerConfig.text(field);
  if (!text)
    return text.error();
  if (text->empty())
    return config.error("router." + field, "is missing; nothing about a router is implied");
  std::optional<Enum> known = named<Enum>(*text);
  if (!known)
    return config.error("router", field + " '" + *text + "' " + wrong);
  value = *known;
  return Done{};
}

Status MixtureReader::readRoute() {
  auto it = config.fields().find("router");
  if (it == config.fields().end() || !it->is_object())
    return config.error("router", "is missing; it says how experts are chosen, see docs/routers.md");
  routerConfig = config.part("router");
  static const std::set<std::string> known = {"score", "order",     "selection", "top",
                                              "limit", "normalise", "scope",     "temperature",
                                              "null",  "shared",    "task"};
  for (const auto &[name, value] : it->items())
    if (!known.count(name))
      return config.error("router." + name, "is unknown");
  for (const Status &status :
       {setWord("score", route.score, "is none of softmax, sigmoid and none"),
        setWord("order", route.order, "is neither score_first nor select_first"),
        setWord("selection", route.selection, "is none of top, argmax, threshold, top_p and all"),
        setWord("normalise", route.normalise, "is none of before, after and none"),
        setWord("scope", route.scope, "is none of token, sequence and task")})
    if (!status)
      return status;
  for (auto [field, number] : {std::pair("top", &route.top),
                               {"null", &route.nullExperts},
                               {"shared", &route.sharedExperts},
                               {"task", &task}}) {
    if (!it->contains(field))
      continue;
    Result<int64_t> value = count(field);
    if (!value)
      return value.error();
    *number = *value;
  }
  Result<double> temperature = routerConfig.number("temperature", 1), limit = routerConfig.number("limit", 0);
  if (!temperature)
    return temperature.error();
  if (!limit)
    return limit.error();
  route.temperature = *temperature;
  route.limit = *limit;
  if (route.isLimited() != it->contains("limit"))
    return config.error("router.limit", "belongs to selection threshold and top_p, and only to them");
  if ((route.scope == RouteScope::Task) != (task >= 0))
    return config.error("router.task", "belongs to scope task, and only to it");
  int64_t logits = experts - route.sharedExperts + route.nullExperts;
  if (route.sharedExperts > experts || logits < 1)
    return config.error("router.shared",
                        "leaves none of " + std::to_string(experts) + " adapters to the router");
  if (std::string why = route.whyWrong(logits); !why.empty())
    return config.error("router", why);
  return Done{};
}

Status MixtureReader::readRouters(const Safetensors &tensors) {
  const std::string prefix = "base_model.model.";
  for (const Tensor &tensor : tensors.tensors) {
    std::string name = tensor.key;
    if (name.rfind(prefix, 0) == 0)
      name.erase(0, prefix.size());
    const Tensor *Router::*place = nullptr;
    for (auto [end, member] : {std::pair(".router.weight", &Router::weight),
                               {".router.bias", &Router::bias},
                               {".router.logits", &Router::logits}}) {
      std::string text = end;
      if (name.size() > text.size() && !name.compare(name.size() - text.size(), text.size(), text)) {
        name.resize(name.size() - text.size());
        place = member;
        break;
      }
    }
    if (!place)
      return wrong(tensor, "has no place: expected <module>.router.weight, .router.bias or .router.logits");
    if (!isFloat(tensor.dtype))
      return wrong(tensor, "is " + dtypeName(tensor.dtype) + "; expected float16, bfloat16 or float32");
    const Tensor *&held = routers[name].*place;
    if (held)
      return wrong(tensor, "says the same as '" + held->key + "'");
    held = &tensor;
  }
  return Done{};
}

// "routers": {"model.layers.0.mlp": {"modules": ["gate_proj", "up_proj", "down_proj"], "reads": "gate_proj"}}, the
// modules by their path below the name.
Status MixtureReader::readShared() {
  if (!config.isSet("routers"))
    return Done{};
  const Json &all = config.fields().at("routers");
  if (!all.is_object())
    return config.error("routers", "is no object of routers by name");
  for (const auto &[name, fields] : all.items()) {
    if (!fields.is_object())
      return config.error("routers." + name, "is no object with 'modules' and 'reads'");
    for (const auto &[field, value] : fields.items())
      if (field != "modules" && field != "reads")
        return config.error("routers." + name + "." + field, "is unknown");
    PeftConfig part = config.part("routers").part(name);
    Result<std::vector<std::string>> modules = part.names("modules");
    Result<std::string> reads = part.text("reads");
    if (!modules)
      return modules.error();
    if (!reads)
      return reads.error();
    if (!routers.count(name))
      return config.error("routers." + name, "has no tensor '" + name + ".router.weight' in " + file);
    if (modules->empty() || reads->empty())
      return config.error("routers." + name,
                          "needs 'modules', and 'reads', the one whose input the router reads");
    for (const std::string &module : *modules)
      if (!shared.emplace(name + "." + module, Shared{name, name + "." + *reads}).second)
        return config.error("routers." + name, "gives a second router to '" + name + "." + module + "'");
  }
  return Done{};
}

Status MixtureReader::setRouter(const std::string &name, const Router &router, Update &update) const {
  int64_t logits = experts - route.sharedExperts + route.nullExperts;
  auto expect = [&](const Tensor &tensor, bool fits, const std::string &shape) -> Status {
    if (fits)
      return Done{};
    return wrong(tensor, "has shape " + shapeText(tensor.shape) + "; expected " + shape + " for " +
                             std::to_string(experts) + " adapters, " + std::to_string(route.sharedExperts) +
                             " of them shared, and " + std::to_string(route.nullExperts) + " null experts");
  };
  auto set = [&](const char *role, Tensor tensor) -> Status {
    Result<Tensor> wide = toF32(tensor);
    if (!wide)
      return wide.error();
    wide->key = tensor.key;
    update.tensors[role] = std::move(*wide);
    return Done{};
  };
  if (route.scope == RouteScope::Task) {
    if (!router.logits || router.weight || router.bias)
      return wrong(router.any(), "is no table '" + name + ".router.logits', which scope task asks for");
    const Tensor &table = *router.logits;
    if (Status fits = expect(table, table.shape.size() == 2 && table.shape[1] == logits,
                             "[tasks, " + std::to_string(logits) + "]");
        !fits)
      return fits;
    if (task >= table.shape[0])
      return config.error("router.task", "is " + std::to_string(task) + ", but '" + table.key + "' has " +
                                             std::to_string(table.shape[0]) + " tasks");
    Tensor row = table;
    row.bytes = table.bytes / table.shape[0];
    row.data = table.data + row.bytes * task;
    row.shape = {logits};
    return set("logits", row);
  }
  if (!router.weight || router.logits)
    return wrong(router.any(), "stands without '" + name + ".router.weight', or with it and scope token");
  const Tensor &weight = *router.weight;
  bool own = update.routerInput.empty();
  int64_t in = update.tensors.at("A").shape[1];
  if (Status fits = expect(
          weight, weight.shape.size() == 2 && weight.shape[0] == logits && (!own || weight.shape[1] == in),
          "[" + std::to_string(logits) + ", " + (own ? std::to_string(in) : "in") + "]");
      !fits)
    return fits;
  if (router.bias)
    if (Status fits = expect(*router.bias, router.bias->shape == std::vector<int64_t>{logits},
                             "[" + std::to_string(logits) + "]");
        !fits)
      return fits;
  if (Status status = set("router", weight); !status)
    return status;
  return router.bias ? set("router_bias", *router.bias) : Status(Done{});
}

Status MixtureReader::readModule(const std::string &module, const std::map<int64_t, Expert> &parts) {
  Update update;
  update.module = module;
  update.parameter = "weight";
  Mixture &mixture = update.mixture.emplace();
  mixture.route = route;
  if (Status status = stackExperts(parts, experts, 1.0, update, mixture.ranks); !status)
    return Error{config.path() + ": " + status.error().message};
  std::string name = module;
  if (auto it = shared.find(module); it != shared.end()) {
    name = it->second.router;
    update.routerInput = it->second.reads == module ? "" : it->second.reads;
  }
  auto router = routers.find(name);
  if (router == routers.end())
    return Error{file + ": module '" + module + "' is adapted by an expert, but there is no '" + module +
                 ".router.weight', nor does a router of '" + config.path() + "' name it"};
  used.insert(name);
  if (Status status = setRouter(name, router->second, update); !status)
    return status;
  adapter.updates.push_back(std::move(update));
  return Done{};
}

Status MixtureReader::run(const Safetensors &tensors) {
  if (Status status = checkFields(); !status)
    return status;
  auto list = config.fields().find("adapters");
  if (list == config.fields().end() || !list->is_array() || list->empty() || list->size() > 4096)
    return config.error("adapters", "is no list of LoRA folders");
  experts = static_cast<int64_t>(list->size());
  if (Status status = readRoute(); !status)
    return status;
  Result<std::vector<std::string>> paths = config.names("adapters");
  if (!paths)
    return paths.error();
  std::vector<std::string> folders;
  for (const std::string &path : *paths) {
    Result<std::string> folder = expertFolder(config, "adapters", adapter.path, path);
    if (!folder)
      return folder.error();
    folders.push_back(*folder);
  }
  if (Status status = readRouters(tensors); !status)
    return status;
  if (Status status = readShared(); !status)
    return status;
  Result<ExpertsByModule> modules = readExperts(folders, adapter.hash);
  if (!modules)
    return modules.error();
  for (const auto &[module, parts] : *modules)
    if (Status status = readModule(module, parts); !status)
      return status;
  for (const auto &[name, router] : routers)
    if (!used.count(name))
      return wrong(router.any(), "is the router of a module that no expert adapts");
  for (const auto &[module, router] : shared)
    if (!modules->count(module))
      return config.error("routers." + router.router, "names '" + module + "', which no expert adapts");
  return Done{};
}

Status readMixture(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
                   Adapter &adapter) {
  return MixtureReader(config, file, adapter).run(tensors);
}

} // namespace adapter::checkpoint
