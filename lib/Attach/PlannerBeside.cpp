// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a plan has beside weights: modules on activations, and the biases that forms make.
#include "lib/Attach/FormUse.h"
#include "lib/Attach/Modules.h"
#include "lib/Attach/Planner.h"

using namespace mlir;
using namespace adapter;
using checkpoint::Result;
using checkpoint::Update;

// Biases that forms make get the weights beside them.
void Planner::joinBiases() {
  for (const auto &planned : plan.parameters)
    for (PlannedUpdate &bias : planned->updates) {
      if (bias.adapter != adapter || !bias.update->ofBias)
        continue;
      for (const auto &other : plan.parameters)
        for (const PlannedUpdate &each : other->updates)
          if (each.adapter == adapter && !each.update->ofBias && other->table == planned->table &&
              each.update->form == bias.update->form && each.update->module == bias.update->module)
            bias.weight = other->parameter;
      int64_t outputs = bias.weight ? placeOf(*bias.weight, *bias.update).out : 0;
      const ModuleParameter &own = planned->parameter ? *planned->parameter : *planned->biasless;
      if (outputs != own.shape[0])
        leaveOver(*bias.update, "the bias (" + own.nodeName() + ") is not beside the weight that it acts on");
    }
}

// A module stands at a residual sum; of a bottleneck `down` says how wide that is.
void Planner::placeModule(const Update &update) {
  bool anywhere = false;
  for (const auto &sums : plan.sums) {
    Result<ResidualSum *> found = sums->find(update.module, update.tensors.at("down").shape[1]);
    if (!found) {
      leaveOver(update, found.error().message);
      return;
    }
    if (!*found)
      continue;
    anywhere = true;
    auto known = llvm::find_if(plan.modules, [&](const auto &each) { return each->sum == *found; });
    if (known == plan.modules.end()) {
      plan.modules.push_back(std::make_unique<PlannedModules>(PlannedModules{*found, {}}));
      known = std::prev(plan.modules.end());
    }
    PlannedUpdate planned{adapter, &update};
    if (std::string why = whyModuleUnfit(planned, **known); !why.empty())
      return leaveOver(update, why);
    (*known)->updates.push_back(planned);
    Placement row;
    row.adapter = adapter->request->name;
    row.module = update.module;
    row.parameter = update.parameter;
    row.graphModule = (*found)->module;
    row.node = (*found)->nodeName();
    row.model = sums->getModel().getSymName().str();
    row.kind = SiteKind::Bottleneck;
    row.form = update.formText();
    row.rank = update.rank;
    row.scale = update.scale * adapter->request->scale;
    report.placements.push_back(std::move(row));
  }
  if (anywhere)
    return;
  leaveMissing(update);
}
