// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Weights of a graph that hold those of several modules, one below the other: q, k and v, gate and up.
#ifndef ADAPTER_LIB_ATTACH_FUSED_H
#define ADAPTER_LIB_ATTACH_FUSED_H

#include "lib/Attach/GraphNames.h"
#include "lib/Attach/ModuleTable.h"
#include "lib/Checkpoint/Adapter.h"
#include <optional>

namespace adapter {

/// Outputs [offset, offset + size) of a parameter of the graph.
struct FusedPart {
  ModuleParameter *parameter = nullptr;
  int64_t offset = 0, size = 0;

  bool isWhole() const { return offset == 0 && size == parameter->shape[0]; }
};

/// The part of a fused parameter that an update acts on; nothing where sizes do not fit.
std::optional<FusedPart> partOf(ModuleParameter &fused, const checkpoint::Update &update,
                                const FusedName &name);

/// An update of a part of a fused parameter.
struct PartUpdate {
  const checkpoint::Update *update;
  FusedPart part;
  Evidence evidence = Evidence::Names;
  bool storedTransposed = false; ///< the checkpoint's own tensor of the part is [in, out]
};

/// One update of a whole parameter from those of its parts, all of one form.
checkpoint::Result<checkpoint::Update> fuseUpdates(const std::vector<PartUpdate> &parts);

/// The updates of the modules that an update's outputs are split into, in their order.
checkpoint::Result<std::vector<checkpoint::Update>>
splitUpdate(const checkpoint::Update &update, const std::vector<ModuleParameter *> &modules);

/// Outputs that an update acts on.
int64_t outputsOf(const checkpoint::Update &update, const ModuleParameter &parameter);

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_FUSED_H
