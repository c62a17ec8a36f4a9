// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Binding adapters to the parameters of imported graphs.
#ifndef ADAPTER_LIB_ATTACH_ATTACH_H
#define ADAPTER_LIB_ATTACH_ATTACH_H

#include "dialects/Adapter/IR/AdapterOps.h"
#include "lib/Checkpoint/Adapter.h"
#include "mlir/IR/BuiltinOps.h"
#include <string>
#include <vector>

namespace adapter {

/// Attribute of an onnx.model that lists the adapters which act at its sites: for each its name, time and
/// updates (site, form, scale, tensors by role as "scope::key").
inline constexpr const char *adaptersAttribute = "adapter.adapters";

/// An adapter as the user asks for it.
struct AdapterRequest {
  std::string name;
  std::string path;
  BindingTime time = BindingTime::Build;
  double scale = 1.0; ///< multiplies the adapter's own
};

struct AttachOptions {
  /// Globs of modules that the graphs are known not to hold.
  std::vector<std::string> ignoreMissing;
  /// The checkpoint that the graphs were exported from, for weights whose names say nothing: "" for none.
  std::string base;
  /// Look only; the module stays as it is.
  bool checkOnly = false;
};

/// Where one update went.
struct Placement {
  std::string adapter, module, parameter; ///< as the checkpoint names them
  std::string graphModule, node;          ///< as the graph does
  std::string model;                      ///< symbol of the onnx.model
  SiteKind kind = SiteKind::Vector;
  std::string form;
  int64_t rank = 0;
  double scale = 1.0;
  bool transposed = false; ///< the graph's tensor is [in, out]
  std::string note;        ///< "new bias", "tied", "unchanged", or ""
};

struct AttachReport {
  std::vector<Placement> placements;
  std::vector<std::string> leftOver; ///< messages, one for each update that has no place
  std::vector<std::string> ignored;  ///< modules, by --ignore-missing
};

/// Reads the adapters and binds each of their updates to the graphs of `module`: what is known at build
/// becomes updates on the edges between parameters and the nodes that read them, the rest sites. An update
/// without a place is reported in `report.leftOver`, and nothing is changed.
checkpoint::Status attachAdapters(mlir::ModuleOp module, const std::vector<AdapterRequest> &requests,
                                  const AttachOptions &options, AttachReport &report);

/// The report for people, and as JSON.
std::string reportTable(const AttachReport &report);
std::string reportJson(const AttachReport &report);

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_ATTACH_H
