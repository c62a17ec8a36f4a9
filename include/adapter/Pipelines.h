// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The phases of compilation, as data, and the pipeline of each.
#ifndef ADAPTER_PIPELINES_H
#define ADAPTER_PIPELINES_H

#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <string>

namespace adapter {

/// What code is compiled for.
struct CodegenOptions {
  int64_t lanes = 16;   ///< f32 lanes of a vector register
  int64_t rows = 12;    ///< rows of the register tile
  int64_t vectors = 2;  ///< vectors in a row of the register tile
  std::string rowInput; ///< the input that carries the rows of a call; empty: the first
  int64_t rowAxis = 0;  ///< its axis of rows
  int64_t columnBlock() const { return vectors * lanes; }
};

/// A phase of compilation behind attach: `--compile-to=<name>` prints the module there.
struct Phase {
  llvm::StringRef name;
  llvm::StringRef summary;
  void (*build)(mlir::OpPassManager &manager, const CodegenOptions &options);
};

/// All phases from `linalg` to `llvm`, in order.
llvm::ArrayRef<Phase> codegenPhases();

/// Symbol of the entry point that is made for a public function.
inline std::string entrySymbol(llvm::StringRef function) { return ("entry." + function).str(); }

} // namespace adapter

#endif // ADAPTER_PIPELINES_H
