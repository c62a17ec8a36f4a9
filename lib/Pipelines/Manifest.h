// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The manifest of an artifact, from the functions that the stage phase leaves.
#ifndef ADAPTER_LIB_PIPELINES_MANIFEST_H
#define ADAPTER_LIB_PIPELINES_MANIFEST_H

#include "dialects/Adapter/IR/AdapterOps.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Compile/FormFunctions.h"
#include "lib/Export/Artifact/WriteArtifact.h"
#include "lib/Pipelines/Compile.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <set>

namespace adapter {

class ManifestBuilder {
public:
  explicit ManifestBuilder(const CompileOptions &options);

  /// Enters every public function as an entry, with its parameters. Parameter indices are made common to all
  /// functions.
  checkpoint::Status addEntries(mlir::ModuleOp module);

  /// Enters layers of experts, whose dispatches it numbers, and over how many processes they are partitioned.
  checkpoint::Status addExperts(mlir::ModuleOp module);

  /// Enters sites and the adapters that act there, and adds their load and switch functions to the module.
  void addAttachments(mlir::ModuleOp module);
  checkpoint::Status addSites(mlir::ModuleOp module);

  /// Enters the device and its kernels, once the module has passed the phase `device`.
  void addDevice(mlir::ModuleOp module);

  artifact::Manifest &get() { return manifest; }
  /// Symbols of the functions that the manifest refers to, in order.
  const std::vector<std::string> &functions() const { return symbols; }
  /// The tensors of parameters.safetensors.
  TensorFile parameterFile() const { return {"parameters.safetensors", parameters}; }
  /// The tensors of adapters/<name>.safetensors.
  const std::vector<TensorFile> &adapterFiles() const { return adapters; }

private:
  checkpoint::Status addParameters(mlir::func::FuncOp function);
  checkpoint::Status addEntry(mlir::func::FuncOp function);

  const CompileOptions &options;
  artifact::Manifest manifest;
  std::vector<std::string> symbols;
  std::vector<checkpoint::Tensor> parameters;
  int definitionRow(FormOp form);
  checkpoint::Status addSite(SiteOp site, FormFunctionBuilder &functions);
  checkpoint::Status addAdapter(ResidentOp adapter);
  checkpoint::Status addUpdate(ResidentUpdateOp update, artifact::Adapter &adapter, TensorFile &file);
  checkpoint::Status addSlot(SlotOp slot);
  int64_t functionIndex(const std::string &name);
  std::string decodeFunction(mlir::ModuleOp module, int64_t parameter);

  std::vector<TensorFile> adapters;
  std::map<std::string, int64_t> rows;           ///< parameters by scope, key and site
  std::map<std::string, int64_t> byContents;     ///< parameters without a site
  std::map<std::string, int64_t> siteParameter;  ///< by site
  std::map<int64_t, kernel::FormatAttr> formats; ///< of narrow parameters
  std::map<int64_t, int64_t> depths;             ///< of those whose K ends within a group; else 0
  std::set<std::string> readTwice;               ///< sites whose parameter is read in two layouts
  std::map<std::string, int64_t> siteIndex;
  std::map<std::string, mlir::ArrayAttr> siteForms; ///< what its forms in the manifest are made of, in order
  std::map<std::string, std::vector<int64_t>> slotSites; ///< by slot
};

} // namespace adapter

#endif // ADAPTER_LIB_PIPELINES_MANIFEST_H
