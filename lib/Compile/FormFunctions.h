// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The load and switch functions of an artifact: what one form of update does at one kind of site, for tensors
// of any size.
#ifndef ADAPTER_LIB_COMPILE_FORMFUNCTIONS_H
#define ADAPTER_LIB_COMPILE_FORMFUNCTIONS_H

#include "dialects/Adapter/IR/AdapterOps.h"
#include "lib/Checkpoint/Result.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include <map>
#include <string>
#include <vector>

namespace adapter {

struct DefinedForm;

/// A form at a site, as its functions see it.
struct FormKey {
  SiteKind kind;
  std::string form;
  bool storedTransposed; ///< a whole tensor of a linear is [in, out]
  int64_t rank;          ///< dimensions of a vector
  bool operator<(const FormKey &other) const {
    return std::tie(kind, form, storedTransposed, rank) <
           std::tie(other.kind, other.form, other.storedTransposed, other.rank);
  }
};

/// One of an entry's steps, see adapter-rt/artifact.h, for any sizes: tensors and extents come with the entry's.
struct FormStep {
  int kernel, from, to; ///< buffers
  bool accumulates;
  int numbers, indices; ///< which of the steps' tensors it reads, -1 for none
};

/// What the outputs of a function that makes an entry are: tensors of it, then those of its steps, then, if there are
/// steps, their extents.
struct EntryShape {
  std::vector<int> positions;
  std::vector<FormStep> steps;
  int stepsBefore = 0; ///< so many of them make what the base's product reads
};

/// Its functions, by symbol.
struct FormFunctions {
  std::vector<std::string> roles;   ///< tensors after the base parameter, before the scale
  FormOp definition;                ///< where the form is one; then scalars and symbols follow the tensors
  std::string materialize, prepare; ///< modules have nothing to materialize
  bool preparesFromBase = false;    ///< `prepare` looks at the parameter, and not only at its sizes
  bool readsWeight = false;         ///< those of a bias get the weight beside it behind the bias
  std::string touch, restore;       ///< of sparse forms, else empty; see SparseForm.h
  EntryShape entry;                 ///< what prepare makes
};

/// Adds functions to a module, each once.
class FormFunctionBuilder {
public:
  /// Weights are packed by `columnBlock` columns, ranks padded to multiples of `rankBlock`. Code that does not take
  /// steps gets whole weights in their place.
  FormFunctionBuilder(mlir::ModuleOp module, int64_t columnBlock, int64_t rankBlock, bool takesSteps)
      : module(module), block(columnBlock), rankBlock(rankBlock), takesSteps(takesSteps) {}

  /// The functions of a form; an error where it has none.
  checkpoint::Result<const FormFunctions *> get(const FormKey &key);
  /// Those of a module.
  const FormFunctions &get(const checkpoint::Bottleneck &bottleneck);
  const std::map<FormKey, FormFunctions> &all() const { return made; }

private:
  void define(const FormKey &key, const DefinedForm &use, FormFunctions &functions);

  mlir::ModuleOp module;
  int64_t block, rankBlock;
  bool takesSteps;
  std::map<FormKey, FormFunctions> made;
  std::map<checkpoint::Bottleneck, FormFunctions> modules;
};

} // namespace adapter

#endif // ADAPTER_LIB_COMPILE_FORMFUNCTIONS_H
