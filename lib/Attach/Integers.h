// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Updates of weights that a graph holds as integers.
#ifndef ADAPTER_LIB_ATTACH_INTEGERS_H
#define ADAPTER_LIB_ATTACH_INTEGERS_H

#include "lib/Attach/Plan.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace adapter {

/// A parameter that stands for integers as one of f32, to be merged into; any other is itself.
ParameterOp floatsOf(ParameterOp parameter, mlir::ImplicitLocOpBuilder &builder);

/// Whether what is known at build acts beside the weight: one of integers would have to be rounded again. What takes its
/// place leaves nothing of them.
bool keepsBuilt(const PlannedParameter &planned);

/// Beside a weight changes of several adapters are added up, which is what they do one after the other only where each
/// adds to the weight and looks at nothing of it. An error says where that is not so.
checkpoint::Status checkSumsBesideIntegers(const AttachPlan &plan);

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_INTEGERS_H
