// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Normal forms as steps over rows, which stand in an adapter_entry_v1 as data; see adapter-rt/artifact.h.
#ifndef ADAPTER_LIB_COMPILE_FORMSTEPS_H
#define ADAPTER_LIB_COMPILE_FORMSTEPS_H

#include "lib/Compile/FormFunctions.h"
#include "lib/Compile/NormalForm.h"

namespace adapter {

/// What a function that makes an entry yields for its steps.
struct FormSteps {
  std::vector<FormStep> steps;
  int before = 0;                         ///< so many of them make what the base's product reads
  llvm::SmallVector<mlir::Value> tensors; ///< of f64 or i64
  mlir::Value extents;                    ///< i64 [steps, ADAPTER_STEP_EXTENTS]
};

/// What a normal form does but for its thin terms and its gain. `out` and `columns` are the weight's sizes. Nothing where
/// that cannot be said in steps.
std::optional<FormSteps> stepsOf(mlir::ImplicitLocOpBuilder &builder, const NormalForm &form, mlir::Value out,
                                 mlir::Value columns);

} // namespace adapter

#endif // ADAPTER_LIB_COMPILE_FORMSTEPS_H
