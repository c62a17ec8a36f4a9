// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What an adapter makes of a model's weights, whatever its form: it is placed as for merging, and its forms are evaluated.
#ifndef ADAPTER_LIB_PIPELINES_CHANGES_H
#define ADAPTER_LIB_PIPELINES_CHANGES_H

#include "lib/Attach/Attach.h"
#include "lib/Diff/Combine.h"
#include "mlir/IR/BuiltinOps.h"

namespace adapter {

/// By a module with onnx.models, which stays as it is.
class ModelChanges final : public diff::Changes {
public:
  ModelChanges(mlir::ModuleOp module, const AttachOptions &options) : module(module), options(options) {}
  checkpoint::Status place(checkpoint::Adapter &adapter) override;
  checkpoint::Result<std::vector<diff::WeightChange>> of(const std::string &path) override;
  bool hasModel() const override { return true; }

private:
  mlir::ModuleOp module;
  AttachOptions options;
};

/// By files, which are read once they are needed.
std::unique_ptr<diff::Changes> openChanges(const diff::ModelPaths &paths);

} // namespace adapter

#endif // ADAPTER_LIB_PIPELINES_CHANGES_H
