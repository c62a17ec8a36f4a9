// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which update goes where, before anything is changed.
#ifndef ADAPTER_LIB_ATTACH_PLAN_H
#define ADAPTER_LIB_ATTACH_PLAN_H

#include "lib/Attach/Attach.h"
#include "lib/Attach/ModuleTable.h"
#include "lib/Attach/ResidualSums.h"
#include "lib/Checkpoint/BaseModel.h"
#include <deque>

namespace adapter {

/// An adapter that was read, with what the user asked for.
struct LoadedAdapter {
  const AdapterRequest *request;
  checkpoint::Adapter contents;
  BindingTime time;                    ///< the request's, unless that leaves it open
  std::deque<checkpoint::Update> made; ///< from its updates, for what the graph holds of their parameters
};

/// One update at one parameter of a graph.
struct PlannedUpdate {
  const LoadedAdapter *adapter;
  const checkpoint::Update *update;
  std::string label = {};                  ///< of a form that is a definition, see labelOf
  const ModuleParameter *weight = nullptr; ///< of a new bias that a form makes: the weight beside it
};

/// Room of one slot at one parameter of a graph.
struct PlannedRoom {
  const SlotRequest *slot;
  std::vector<std::string> forms; ///< those of the slot that the parameter can take
};

/// All updates of one parameter of a graph, in the order in which they act.
struct PlannedParameter {
  ModuleTable *table;
  ModuleParameter *parameter = nullptr; ///< null: the bias that `biasless` lacks
  ModuleParameter *biasless = nullptr;
  std::vector<PlannedUpdate> updates;
  std::vector<PlannedRoom> rooms;
  std::vector<ModuleParameter *> tied; ///< weights that hold the same numbers as this table
};

/// All modules at one residual sum, in the order in which they act.
struct PlannedModules {
  ResidualSum *sum;
  std::vector<PlannedUpdate> updates;
};

struct AttachPlan {
  /// The entry of a parameter, or of the bias that `biasless` lacks; made where there is none.
  PlannedParameter &planned(ModuleParameter *parameter, ModuleParameter *biasless);

  std::vector<std::unique_ptr<ModuleTable>> tables; ///< one for each onnx.model
  std::vector<std::unique_ptr<ResidualSums>> sums;  ///< the same
  std::vector<std::unique_ptr<LoadedAdapter>> adapters;
  std::vector<std::unique_ptr<PlannedParameter>> parameters;
  std::vector<std::unique_ptr<PlannedModules>> modules;
  std::map<std::string, std::vector<std::string>> slotForms; ///< of each slot, with variants behind "+"
  std::string slotBase; ///< digest of the base with which what slots have room at was compared

private:
  std::map<std::pair<ModuleParameter *, ModuleParameter *>, PlannedParameter *> byParameter;
};

/// The bias that a weight's module lacks, as it would be.
ModuleParameter missingBias(const ModuleParameter &biasless);

/// The weights that an exporter copied from a table; only their contents tell.
std::vector<ModuleParameter *> tiedWeights(const ModuleTable &table, const ModuleParameter &embedding);

/// Why no graph has what an update acts on: what is nearest, and what to do.
struct Missing {
  std::string why;
  bool isPlain = false;    ///< no graph has the module, and nothing more is to be said
  bool hasNearest = false; ///< `why` names modules that it may be
};
Missing whyMissing(const AttachPlan &plan, const checkpoint::Update &update, bool hasBase);

/// Compares every parameter at which slots have room with the base checkpoint, as far as that has it.
checkpoint::Status checkRooms(const checkpoint::BaseModel &base, const AttachOptions &options,
                              AttachPlan &plan);

/// Sites for a slot wherever the graphs have a place for one of its forms.
checkpoint::Status makeRoom(const SlotRequest &slot, AttachPlan &plan, AttachReport &report);

/// Fills the plan and the report.
checkpoint::Status planAttach(mlir::ModuleOp module, const std::vector<AdapterRequest> &requests,
                              const std::vector<SlotRequest> &slots, const AttachOptions &options,
                              AttachPlan &plan, AttachReport &report);

/// Says in each model what was placed there and what proves it (adapter.attachment).
void recordPlacements(const AttachPlan &plan, const AttachReport &report);

/// Settles the times that requests leave open, once every update has its place; fills the report.
void chooseTimes(AttachPlan &plan, const AttachOptions &options, AttachReport &report);

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_PLAN_H
