// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// When adapters act that leave it to the compiler, and what each costs; printed by --plan. The rule is simple:
// one adapter alone is merged; several are chosen by row where their factors are small against the weights they
// change, and switched where a batch would need whole copies.
#include "lib/Attach/Attach.h"
#include "lib/Attach/FormUse.h"
#include "lib/Attach/Plan.h"
#include "lib/Support/Quantised.h"

using namespace mlir;
using namespace adapter;
using checkpoint::Update;

static int64_t elementsOf(const ModuleParameter &parameter) {
  int64_t elements = 1;
  for (int64_t size : parameter.shape)
    elements *= size;
  return elements;
}

// Whether activations cannot take an update at row or call, so that each adapter has a weight of its own.
static bool needsCopy(const Update &update, const ModuleParameter &parameter) {
  FormTraits traits = traitsOf(update, parameter);
  if (traits.replaces)
    return true;
  return parameter.kind == SiteKind::Linear ? !traits.rows.empty()
                                            : parameter.kind == SiteKind::Embedding && !traits.length.empty();
}

namespace {
struct Cost {
  int64_t factors = 0, copies = 0, weights = 0; // bytes
  std::vector<PlannedSite> copied;
  bool narrow = false;
  bool integers = false; // beside which it acts
  bool modules = false;  // which act on activations and change no weight
  bool mixture = false;  // which is bound at build
};
} // namespace

static Cost costOf(const AttachPlan &plan, const LoadedAdapter &adapter) {
  Cost cost;
  for (const auto &planned : plan.parameters) {
    bool touched = false;
    for (const PlannedUpdate &each : planned->updates) {
      if (each.adapter != &adapter)
        continue;
      const ModuleParameter &target = planned->parameter ? *planned->parameter : *planned->biasless;
      SiteKind kind = planned->parameter ? target.kind : SiteKind::Vector;
      int64_t bytes = (kind == SiteKind::Vector ? target.shape[0] : elementsOf(target)) * sizeof(float);
      cost.mixture |= each.update->mixture.has_value();
      if (kind != SiteKind::Vector && needsCopy(*each.update, target)) {
        cost.copies += bytes;
        cost.copied.push_back({target.module + "." + each.update->parameter, each.update->formText(), bytes});
      } else {
        for (const auto &[role, tensor] : each.update->tensors)
          cost.factors += tensor.elements() * sizeof(float);
      }
      if (!std::exchange(touched, true))
        cost.weights += bytes;
      auto value = const_cast<ParameterOp &>(target.value);
      cost.integers |= value && value->hasAttr(quantisedAttribute);
      cost.narrow |= value && cast<RankedTensorType>(value.getType()).getElementTypeBitWidth() < 32;
    }
  }
  for (const auto &planned : plan.modules)
    for (const PlannedUpdate &each : planned->updates)
      if (each.adapter == &adapter) {
        cost.modules = true;
        for (const auto &[role, tensor] : each.update->tensors)
          cost.factors += tensor.elements() * sizeof(float);
      }
  return cost;
}

static std::pair<BindingTime, std::string> choose(const Cost &cost, const AttachOptions &options,
                                                  bool alone) {
  if (options.mergeOnly)
    return {BindingTime::Build, "an .onnx file holds merged adapters only"};
  if (cost.mixture)
    return {BindingTime::Build, "a mixture, whose routers are a part of the graph"};
  if (alone && cost.integers)
    return {BindingTime::Build,
            "it is the only one; beside weights that are stored as integers it acts in every call"};
  if (alone && !cost.narrow)
    return {BindingTime::Build, "it is the only one, and merged it costs a call nothing"};
  if (alone)
    return {BindingTime::Call,
            "it is the only one, but rounding to the narrow weights would lose part of it"};
  // A quarter: beyond that a few adapters would outweigh the model.
  if (cost.factors + cost.copies <= cost.weights / 4)
    return {BindingTime::Row, "one of several, and small against the weights that it changes"};
  if (cost.modules)
    return {BindingTime::Row, "one of several, with modules that have no weights to switch"};
  return {BindingTime::Switch, "one of several, and by row it would take more than a quarter of the weights "
                               "that it changes"};
}

// The rule that adapter-expand-mixtures obeys.
static void planMixtures(const AttachPlan &plan, const AttachOptions &options, AttachReport &report) {
  for (const auto &planned : plan.parameters)
    for (const PlannedUpdate &each : planned->updates) {
      const std::optional<checkpoint::Mixture> &mixture = each.update->mixture;
      if (!mixture)
        continue;
      const checkpoint::Route &route = mixture->route;
      bool isSorted =
          route.isSparse() && route.scope == checkpoint::RouteScope::Token && !mixture->classified;
      isSorted &= !options.onDevice;
      int64_t chosen = isSorted ? route.sharedExperts + route.chosen() : 0;
      checkpoint::MixtureCost cost = checkpoint::mixtureCost(
          mixture->ranks, chosen, planned->parameter->shape[1], planned->parameter->shape[0]);
      std::string reason =
          options.mergeOnly ? "all ranks behind a mask, as an .onnx file can say it" : cost.reason();
      report.mixtures.push_back({each.adapter->request->name, each.update->module, reason});
    }
}

void adapter::chooseTimes(AttachPlan &plan, const AttachOptions &options, AttachReport &report) {
  bool alone = plan.adapters.size() == 1 && report.slots.empty();
  planMixtures(plan, options, report);
  for (const auto &loaded : plan.adapters) {
    Cost cost = costOf(plan, *loaded);
    PlannedTime row;
    row.adapter = loaded->request->name;
    row.reason = "as asked";
    if (loaded->request->automatic)
      std::tie(loaded->time, row.reason) = choose(cost, options, alone);
    row.time = loaded->time;
    if (row.time == BindingTime::Row || row.time == BindingTime::Call) {
      row.factors = cost.factors;
      row.copies = cost.copies;
      row.copied = std::move(cost.copied);
    } else if (row.time == BindingTime::Switch) {
      row.factors = cost.factors + cost.copies; // as the file has them
      row.copies = cost.weights;                // while it is switched in
    }
    report.times.push_back(std::move(row));
  }
}

std::string adapter::planText(const AttachReport &report) {
  std::string text;
  for (const PlannedTime &row : report.times) {
    text += "adapter " + row.adapter + ": " + stringifyBindingTime(row.time).str() + ", " + row.reason +
            "; " + std::to_string(row.factors) + " bytes of factors, " + std::to_string(row.copies) +
            " of copies" + (row.time == BindingTime::Switch ? " while it is switched in" : "") + "\n";
    for (const PlannedSite &site : row.copied)
      text += "  " + site.name + ": '" + site.form + "' has no form on activations; a copy of " +
              std::to_string(site.bytes) + " bytes\n";
  }
  for (const PlannedMixture &mixture : report.mixtures)
    text += "mixture " + mixture.adapter + " at " + mixture.module + ": " + mixture.reason + "\n";
  for (const SlotPlacement &slot : report.slots)
    text += "slot " + slot.slot + ": " + stringifyBindingTime(slot.time).str() + ", as asked; room at " +
            std::to_string(slot.sites) + " parameters\n";
  return text;
}
