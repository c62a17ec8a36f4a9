// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Binding adapters to the parameters of imported graphs.
#ifndef ADAPTER_LIB_ATTACH_ATTACH_H
#define ADAPTER_LIB_ATTACH_ATTACH_H

#include "lib/Attach/ModuleTable.h"
#include "lib/Checkpoint/Adapter.h"
#include "lib/Checkpoint/ModuleMatch.h"
#include "mlir/IR/BuiltinOps.h"
#include <optional>
#include <string>
#include <vector>

namespace adapter {

/// An adapter as the user asks for it.
struct AdapterRequest {
  std::string name;
  std::string path;
  BindingTime time = BindingTime::Build;
  double scale = 1.0;                                  ///< multiplies the adapter's own
  bool automatic = false;                              ///< the cost model chooses the time
  std::vector<std::string> bound;                      ///< properties that come with the call
  bool byToken = false;                                ///< at row: each token may have an adapter of its own
  std::optional<int64_t> task;                         ///< which one is meant, of an adapter of several
  std::shared_ptr<const checkpoint::Adapter> contents; ///< what it is; null: read from the path
};

/// Room for adapters that arrive later.
struct SlotRequest {
  std::string name;
  /// Forms, variants of them ("dora"), and "embedding" for factors at tables of embeddings too.
  std::vector<std::string> words;
  int64_t rank = 0;                 ///< the highest that is taken; 0: any
  std::vector<std::string> modules; ///< globs over paths or their ends; none: all modules
  BindingTime time = BindingTime::Row;
  bool byToken = false;           ///< at row: each token may have an adapter of its own
  std::vector<std::string> bound; ///< properties that come with the call
};

struct AttachOptions {
  /// Globs of modules that the graphs are known not to hold.
  std::vector<std::string> ignoreMissing;
  /// Renamings of adapters' modules, in order; the first that fits counts.
  std::vector<checkpoint::Renaming> renamings;
  /// The checkpoint that the graphs were exported from, by which claims are proved: "" for the one that an adapter
  /// names, where it is on this machine.
  std::string base;
  bool noBase = false;         ///< do not look for the one that an adapter names
  bool allowOtherBase = false; ///< take a graph that holds other numbers than the base
  bool requireProof = false;   ///< an update whose parameter the base does not prove is an error
  /// Look only; the module stays as it is.
  bool checkOnly = false;
  bool norms = false; ///< report how large updates and weights are
  /// Code for a device, which does not sort tokens by expert.
  bool onDevice = false;
  /// The output has no place for adapters that are not merged.
  bool mergeOnly = false;
  /// Merge into weights that are stored as integers, which become floats by that.
  bool mergesIntegers = false;
};

/// Where one update went.
struct Placement {
  std::string adapter, module, parameter; ///< as the checkpoint names them
  std::string graphModule, node;          ///< as the graph does
  std::string model;                      ///< symbol of the onnx.model
  std::string key;                        ///< of the graph's tensor; "" for a bias that it lacks
  SiteKind kind = SiteKind::Vector;
  std::string form;
  int64_t rank = 0;
  double scale = 1.0;
  bool transposed = false; ///< the graph's tensor is [in, out]
  std::string note;        ///< "new bias", "tied", "unchanged", or ""
  Evidence evidence = Evidence::Names;
  std::optional<double> weightNorm, updateNorm; ///< Frobenius, where AttachOptions::norms asks for them
  std::string derivation; ///< what the graph holds, where it is not the parameter itself: "1 + norm.weight"
};

/// The base checkpoint with which an adapter's claims were compared.
struct ComparedBase {
  std::string adapter, path, digest;
};

/// What a slot found.
struct SlotPlacement {
  std::string slot;
  BindingTime time;
  std::vector<std::string> forms;
  int64_t rank, sites;
};

/// A parameter of which an adapter needs a copy of its own.
struct PlannedSite {
  std::string name, form;
  int64_t bytes;
};

/// When an adapter acts, why, and the bytes that this takes beside the model.
struct PlannedTime {
  std::string adapter;
  BindingTime time;
  std::string reason;
  int64_t factors = 0, copies = 0;
  std::vector<PlannedSite> copied; ///< where `copies` differ from one for all
};

/// How a mixture is computed where code is compiled, and why.
struct PlannedMixture {
  std::string adapter, module, reason;
};

/// An update that has no place, or what is wrong with an adapter as a whole.
struct LeftOver {
  std::string adapter, module; ///< `module` is empty where all of the adapter is meant
  std::string what;            ///< "weight, lora"
  std::string why;
  bool isMissing = false;  ///< no graph has the module, for no particular reason
  bool hasNearest = false; ///< `why` names modules that it may be

  /// The message, with `name` for the module: its path, or a pattern for several.
  std::string text(llvm::StringRef name, size_t modules = 1) const;
  std::string text() const { return text(module); }
};

/// How many modules of an adapter have a place.
struct AdapterVerdict {
  std::string adapter, hash;
  std::string path, method, base; ///< its folder, PEFT's type of it, and what it names as its base
  size_t modules = 0, placed = 0;
  std::string stranger; ///< where none has: what the adapter and the graph seem to be of
};

struct AttachReport {
  std::vector<PlannedMixture> mixtures;
  std::vector<PlannedTime> times;
  std::vector<SlotPlacement> slots;
  std::vector<ComparedBase> bases;
  std::vector<Placement> placements;
  std::vector<LeftOver> leftOver;
  std::vector<AdapterVerdict> verdicts;
  std::vector<std::string> ignored; ///< modules, by --ignore-missing
};

/// Reads the adapters and binds each of their updates to the graphs of `module`: what is known at build
/// becomes updates on the edges between parameters and the nodes that read them, the rest sites. An update
/// without a place is reported in `report.leftOver`, and nothing is changed. Slots get sites wherever the
/// graphs have a place for one of their forms.
checkpoint::Status attachAdapters(mlir::ModuleOp module, const std::vector<AdapterRequest> &requests,
                                  const std::vector<SlotRequest> &slots, const AttachOptions &options,
                                  AttachReport &report);

/// "names", "metadata" or "contents".
const char *evidenceName(Evidence evidence);

/// What is wrong, in one sentence; "" where everything has a place.
std::string complaint(const AttachReport &report);

/// The report as a table, as JSON, and as a page of HTML that needs no other file.
std::string reportTable(const AttachReport &report);
std::string reportJson(const AttachReport &report);
std::string reportHtml(const AttachReport &report);
/// What the cost model chose and why, for people.
std::string planText(const AttachReport &report);

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_ATTACH_H
