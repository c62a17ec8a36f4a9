// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// PEFT's Poly (Polytropon and multi-head adapter routing, R06 of the list of methods), on linear layers. Follows
// peft/tuners/poly of PEFT 0.21: y += x A B / r, with the factors of the task.
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/PeftReader.h"
#include "lib/Checkpoint/Skills.h"

namespace adapter::checkpoint {

namespace {

const std::set<std::string> known = {"r",        "poly_type", "n_tasks",     "n_skills",
                                     "n_splits", "dropout",   "init_weights"};
const std::map<std::string, const char *> refused = {};

class PolyReader final : public PeftReader {
public:
  using PeftReader::PeftReader;

private:
  std::vector<Place> places() const override {
    return {{".poly_lora_A", "A"}, {".poly_lora_B", "B"}, {".poly_router.module_logits", "logits"}};
  }
  const std::set<std::string> &knownFields() const override { return known; }
  const std::map<std::string, const char *> &refusedFields() const override { return refused; }

  Status checkMethod() const override {
    Result<std::string> type = config.text("poly_type");
    if (!type)
      return type.error();
    if (!type->empty() && *type != "poly")
      return config.error("poly_type", "is '" + *type + "', which is not supported; poly is");
    return Done{};
  }

  // The configuration must say of a size what the tensors have.
  Status check(const char *field, double fallback, int64_t actual, const Tensor &tensor) const {
    Result<double> value = config.number(field, fallback);
    if (!value)
      return value.error();
    if (*value != static_cast<double>(actual))
      return wrong(tensor, "does not fit its configuration: shape " + shapeText(tensor.shape) + ", but " +
                               field + " is " + std::to_string(static_cast<int64_t>(*value)));
    return Done{};
  }

  Status readTuned(const std::string &path, const Module &module) override {
    Update update;
    for (const char *role : {"A", "B", "logits"}) {
      const Tensor *tensor = module.role(role);
      if (!tensor)
        return wrong(*module.tuned.begin()->second,
                     std::string("has no counterpart ") + (role == std::string("logits")
                                                               ? "poly_router.module_logits"
                                                               : std::string("poly_lora_") + role));
      update.skills[role] = *tensor;
    }
    const Tensor &a = *module.role("A");
    Result<std::string> reason = whyNotTarget(path, module);
    if (!reason)
      return reason.error();
    if (!reason->empty())
      return wrong(a, "does not fit its configuration: " + *reason);
    if (Status status = setSkills(file, update); !status)
      return status;
    const struct {
      const char *field;
      double fallback;
      int64_t actual;
      const Tensor *tensor;
    } sizes[] = {{"r", 8, update.rank, &a},
                 {"n_splits", 1, a.shape[0], &a},
                 {"n_skills", 4, a.shape[1], &a},
                 {"n_tasks", 1, update.tasks, module.role("logits")}};
    for (const auto &size : sizes)
      if (Status status = check(size.field, size.fallback, size.actual, *size.tensor); !status)
        return status;
    Update &added = add(path, "weight", "lora");
    added.scale = 1.0 / static_cast<double>(update.rank);
    added.rank = update.rank;
    added.tasks = update.tasks;
    added.tensors = std::move(update.tensors);
    added.skills = std::move(update.skills);
    return Done{};
  }
};

} // namespace

Status readPeftPoly(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
                    Adapter &adapter) {
  return PolyReader(config, file, adapter).run(tensors);
}

} // namespace adapter::checkpoint
