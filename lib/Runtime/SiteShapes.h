// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Whether an update's tensors have the shapes that its site's compiled functions take for granted.
#ifndef ADAPTER_LIB_RUNTIME_SITESHAPES_H
#define ADAPTER_LIB_RUNTIME_SITESHAPES_H

#include "lib/Artifact/manifest.pb.h"
#include "lib/Checkpoint/Result.h"
#include "lib/Checkpoint/Tensor.h"
#include <vector>

namespace adapter::runtime {

// `tensors` stand in the order of the form's roles. Forms that are unknown here are errors: their functions
// would read whatever an adapter's file says.
checkpoint::Status checkShapes(const artifact::Site &site, const artifact::SiteForm &form,
                               const std::vector<checkpoint::Tensor> &tensors);

} // namespace adapter::runtime

#endif // ADAPTER_LIB_RUNTIME_SITESHAPES_H
