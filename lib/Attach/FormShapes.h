// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the forms of updates have in common where they meet a graph's parameter.
#ifndef ADAPTER_LIB_ATTACH_FORMSHAPES_H
#define ADAPTER_LIB_ATTACH_FORMSHAPES_H

#include "lib/Attach/ModuleTable.h"
#include "lib/Checkpoint/Adapter.h"
#include <vector>

namespace adapter {

using Shape = std::vector<int64_t>;

inline const checkpoint::Tensor &tensorOf(const checkpoint::Update &update, const char *role) {
  return update.tensors.at(role);
}

/// How many modules B is mixed of; 0: it is one tensor.
int mixtureOf(const checkpoint::Update &update);

/// Whether an update is of a low-rank form, with or without DoRA.
bool isOfForm(const checkpoint::Update &update, llvm::StringRef form);

/// With the first two dimensions exchanged.
Shape exchanged(Shape shape);

/// Whether a whole tensor of a matrix is [in, out]. Its shape says so unless it is square.
bool isWholeTransposed(const checkpoint::Tensor &value, const ModuleParameter &parameter);

/// The shape of the tensor in the framework's own layout.
Shape storedShape(const ModuleParameter &parameter);

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_FORMSHAPES_H
