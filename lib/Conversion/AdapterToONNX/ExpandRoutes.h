// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Routers as nodes; part of adapter-expand-mixtures.
#ifndef ADAPTER_LIB_CONVERSION_ADAPTERTOONNX_EXPANDROUTES_H
#define ADAPTER_LIB_CONVERSION_ADAPTERTOONNX_EXPANDROUTES_H

#include "dialects/Adapter/IR/AdapterOps.h"

namespace adapter {

/// Writes a router as nodes of operator set 13 whose names begin with `name`, and erases it.
void expandRoute(RouteOp op, const std::string &name);

/// The weights of all experts, found without sorting: each is compared with all others. For devices, which have no
/// sorting; null where the selection needs none, or the number of experts is not known.
mlir::Value weighPairwise(RouteOp op, const std::string &name);

} // namespace adapter

#endif // ADAPTER_LIB_CONVERSION_ADAPTERTOONNX_EXPANDROUTES_H
