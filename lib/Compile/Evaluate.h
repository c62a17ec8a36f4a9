// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The evaluator: runs the build-time part of a program by compiling it for the host and calling it.
#ifndef ADAPTER_LIB_COMPILE_EVALUATE_H
#define ADAPTER_LIB_COMPILE_EVALUATE_H

#include "lib/Checkpoint/Result.h"
#include "lib/Checkpoint/Tensor.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"
#include <memory>
#include <vector>

namespace adapter {

/// Host code of a module whose public functions take and return tensors.
class Evaluator {
public:
  ~Evaluator();

  /// Compiles a clone of `module`, functions over linalg, arith, math, tensor, scf and kernel ops. Shapes may
  /// be dynamic; packed weights have blocks of `columnBlock` columns.
  static checkpoint::Result<std::unique_ptr<Evaluator>> compile(mlir::ModuleOp module);

  /// Calls a public function. Inputs are contiguous and of the ranks and element types of its arguments;
  /// results are fresh tensors.
  checkpoint::Result<std::vector<checkpoint::Tensor>> run(llvm::StringRef function,
                                                          llvm::ArrayRef<checkpoint::Tensor> inputs);

private:
  Evaluator();
  struct Implementation;
  std::unique_ptr<Implementation> implementation;
};

/// Evaluators of what passes take out of a graph, one after the other: repeated layers make equal modules, which are compiled
/// once.
class EvaluatorCache {
public:
  /// The evaluator of `module`, which `lower`, if given, brings first to what Evaluator::compile takes. Errors are of `op`.
  mlir::FailureOr<Evaluator *>
  get(mlir::ModuleOp module, mlir::Operation *op,
      llvm::function_ref<mlir::LogicalResult(mlir::ModuleOp module)> lower = nullptr);
  /// How many were compiled.
  size_t size() const { return evaluators.size(); }
  void clear() { evaluators.clear(); }

private:
  llvm::StringMap<std::unique_ptr<Evaluator>> evaluators; // by the module's text
};

/// Compiles and runs in one step.
checkpoint::Result<std::vector<checkpoint::Tensor>> evaluate(mlir::ModuleOp module, llvm::StringRef function,
                                                             llvm::ArrayRef<checkpoint::Tensor> inputs);

} // namespace adapter

#endif // ADAPTER_LIB_COMPILE_EVALUATE_H
