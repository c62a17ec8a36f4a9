// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LLVM's part of compilation, as a library and not as a process.
#ifndef ADAPTER_LIB_TARGET_OPTIMISE_H
#define ADAPTER_LIB_TARGET_OPTIMISE_H

#include "lib/Checkpoint/Result.h"
#include "llvm/IR/LLVMContext.h"

namespace llvm {
class Module;
class TargetMachine;
} // namespace llvm

namespace adapter {

/// Errors that LLVM reports in this context are added to `errors`, which must outlive it, instead of ending the process.
void collectErrors(llvm::LLVMContext &context, std::string &errors);

/// Runs LLVM's optimiser at its highest level. Fails only where the work is called off.
checkpoint::Status optimise(llvm::Module &module, llvm::TargetMachine &machine);

} // namespace adapter

#endif // ADAPTER_LIB_TARGET_OPTIMISE_H
