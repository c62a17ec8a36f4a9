// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What is one for the process: LLVM's targets, and LLD. Threads generate code side by side, but LLD links for one at a
// time, and while it does it sets LLVM's options back, which code generation reads.
#ifndef ADAPTER_LIB_TARGET_LINKING_H
#define ADAPTER_LIB_TARGET_LINKING_H

namespace adapter {

/// Registers the targets that code is generated for, once.
void initializeTargets();

/// Held while LLVM generates code.
class CodegenLock {
public:
  CodegenLock();
  ~CodegenLock();
  CodegenLock(const CodegenLock &) = delete;
};

} // namespace adapter

#endif // ADAPTER_LIB_TARGET_LINKING_H
