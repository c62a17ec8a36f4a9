// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every update of every adapter finds its parameters, or a message says why not.
#ifndef ADAPTER_LIB_ATTACH_PLANNER_H
#define ADAPTER_LIB_ATTACH_PLANNER_H

#include "lib/Attach/Claims.h"
#include "lib/Attach/Plan.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/GlobPattern.h"

namespace adapter {

/// Finds the places of all updates of an adapter, one adapter after the other.
class Planner {
public:
  Planner(const AttachOptions &options, AttachPlan &plan, AttachReport &report)
      : options(options), plan(plan), report(report), claims(plan.tables, options) {}

  checkpoint::Status readOptions();
  checkpoint::Status placeAll(LoadedAdapter &adapter);

private:
  void place(const checkpoint::Update &update);
  bool placeClaim(const checkpoint::Update &update, size_t table);
  void placeOwn(const checkpoint::Update &update, const ModuleTable &table, const Claim &claim);
  bool placeTable(const checkpoint::Update &update, const ModuleTable &table);
  std::string whyNotFollowed(const checkpoint::Update &update, const ModuleTable &table,
                             const Claim &claim) const;
  void placePart(const checkpoint::Update &update, FusedPart part, const std::string &note);
  void placeSplit(const checkpoint::Update &update, const Claim &claim);
  void placeModule(const checkpoint::Update &update);
  void placeFused();
  void joinBiases();
  void refuseIgnored();
  struct Target {
    ModuleParameter *parameter = nullptr, *biasless = nullptr;
    Proof proof;
    std::string note;
  };
  void placeAt(const checkpoint::Update &update, const Target &target,
               const std::vector<PartUpdate> *parts = nullptr);
  std::string whyTaken(const checkpoint::Update &update, const Target &target);
  void reportAt(const checkpoint::Update &update, const Target &target, bool unchanged,
                const std::vector<PartUpdate> *parts);
  bool isIgnored(const std::string &module) const;
  void leaveOver(const checkpoint::Update &update, const std::string &why);
  void leaveMissing(const checkpoint::Update &update);
  std::string whyUnproved() const;

  const AttachOptions &options;
  AttachPlan &plan;
  AttachReport &report;
  Claims claims;
  std::vector<llvm::GlobPattern> globs;
  LoadedAdapter *adapter = nullptr; // the one that is being placed
  // Its modules, by what each has.
  std::map<std::pair<const void *, int64_t>, std::string> owners;
  size_t firstPlacement = 0;
  struct Fused {
    std::vector<PartUpdate> parts;
  };
  // By parameter and form, in the order in which they come.
  llvm::MapVector<std::pair<ModuleParameter *, llvm::StringRef>, Fused> fused;
};

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_PLANNER_H
