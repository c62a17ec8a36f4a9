// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Claims: that a tensor of a graph is a parameter of a module. This is their one owner: all modules of an adapter are
// settled together, in all graphs, so that two modules never have one tensor, and each claim has its evidence.
#ifndef ADAPTER_LIB_ATTACH_CLAIMS_H
#define ADAPTER_LIB_ATTACH_CLAIMS_H

#include "lib/Attach/Attach.h"
#include "lib/Attach/Contents.h"
#include "lib/Attach/Derivations.h"
#include "lib/Checkpoint/ModuleMatch.h"
#include <functional>

namespace adapter {

/// Where a graph has a parameter of a module.
struct Claim {
  std::vector<FusedPart> parts; ///< whole tensors, or parts of fused ones
  std::vector<ModuleParameter *>
      split; ///< instead: those that hold it together, in the order of their outputs
  ModuleParameter *biasless = nullptr; ///< instead: the weight that a missing bias belongs to
  bool byContents = false;
  std::string problem;      ///< why a tensor that could be meant was not taken
  bool isElsewhere = false; ///< that is only since this graph is another part of the model

  bool none() const { return parts.empty() && split.empty() && !biasless; }
};

/// What proves a claim, and what the tensor is of the parameter.
struct Proof {
  Evidence evidence = Evidence::Names;
  Derivation derivation;
  bool storedTransposed = false; ///< where contents prove it: the base holds a matrix as [in, out]
  std::string why;               ///< of a refusal: what is wrong
};

class Claims {
public:
  using Tables = std::vector<std::unique_ptr<ModuleTable>>;
  Claims(const Tables &tables, const AttachOptions &options) : tables(tables), options(options) {}

  /// Settles the modules of one adapter, but for those that are known to be missing. What the next calls say is about
  /// this adapter.
  checkpoint::Status settle(const checkpoint::Adapter &adapter,
                            const std::function<bool(const std::string &)> &isIgnored);
  /// Where the graph of a table has the parameter that an update acts on.
  const Claim &find(size_t table, const checkpoint::Update &update) const;
  /// Compares a claim with the base checkpoint, where there is one; sets how the framework stores a matrix.
  Proof prove(const checkpoint::Update &update, const FusedPart &part);
  /// The same of a bias that the graph lacks beside a weight.
  Proof proveMissing(const checkpoint::Update &update, const ModuleParameter &weight) const;

  /// The base checkpoint of this adapter; null where none is at hand.
  const checkpoint::BaseModel *base() const { return current ? current->model.get() : nullptr; }
  bool baseWasFound() const { return current && current->wasFound; }
  /// A message that the graph is not the adapter's base; "" where nothing differs.
  std::string whyOtherBase() const;

private:
  struct Base {
    std::shared_ptr<checkpoint::BaseModel> model;
    bool wasFound = false;                               ///< by itself, not by --base
    std::vector<std::unique_ptr<ContentIndex>> contents; ///< by table
  };
  using Item = std::pair<std::string, std::string>; // module and parameter
  /// A graph's path as a checkpoint could have it, see spellingsOf; the lowest rank is the likeliest.
  struct Spelling {
    const std::string *path;
    size_t rank;
    std::string text;
  };

  checkpoint::Status openBase(const checkpoint::Adapter &adapter);
  void matchBaseKeys();
  std::vector<const Spelling *> spellingsFor(size_t table, llvm::StringRef lastName);
  std::vector<checkpoint::MatchItem> candidatesIn(size_t table, bool byContents);
  void addCandidates(size_t table, checkpoint::MatchItem &item, bool byContents);
  void settleNames();
  void takePaths(size_t table, const checkpoint::MatchResult &match);
  void fillClaim(Claim &claim, ModuleTable &table, const std::string &path,
                 const checkpoint::Update &update) const;
  void fillOwn(Claim &claim, const std::vector<ModuleParameter *> &found,
               const checkpoint::Update &update) const;
  ContentIndex::Place findTiedHead(size_t table, const Item &item);
  void settleContents(size_t table);
  void refuseDifferent();
  const checkpoint::Tensor *baseTensor(const std::string &module, const std::string &parameter) const;
  std::string whySeveralModules(const Item &item, const ContentIndex::Place &place) const;
  bool isTiedInBase(const FusedPart &part) const;
  std::optional<Derivation> weightBeside(const FusedPart &bias, llvm::StringRef key) const;
  bool fits(const Item &item, const ModuleParameter &parameter, bool byContents) const;
  std::optional<SiteKind> kindOf(const Item &item) const;
  ContentIndex &contentsOf(size_t table);

  const Tables &tables;
  const AttachOptions &options;
  std::map<std::string, std::unique_ptr<Base>> bases; // by path
  Base *current = nullptr;
  std::vector<std::map<std::string, std::vector<Spelling>>> spelled; // by table and last name
  std::vector<Item> items;
  std::set<std::string> ignoredRoots; // everything in front of modules that are said to be missing
  std::map<Item, std::vector<const checkpoint::Update *>> updates;
  std::map<Item, std::string> baseKeys;
  std::vector<std::map<Item, Claim>> claims; // by table
  std::vector<std::map<Item, bool>> leftOut; // by table: whether the path leaves out a part of the module's
  std::vector<std::pair<std::string, double>> differing;
  int64_t compared = 0;
  bool hasPlaces = false; // whether there was anything to compare
};

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_CLAIMS_H
