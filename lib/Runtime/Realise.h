// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Turns adapters into what calls use, by the artifact's own functions: entries of banks, updated parameters.
#ifndef ADAPTER_LIB_RUNTIME_REALISE_H
#define ADAPTER_LIB_RUNTIME_REALISE_H

#include "lib/Checkpoint/DType.h"
#include "lib/Runtime/Touched.h"

namespace adapter::runtime {

// What can be set of an adapter.
struct Properties {
  double scale = 1.0; // multiplies the adapter's own
  int64_t rank = 0;   // how many directions of low-rank updates act, the leading ones; 0: all
  int64_t task = -1;  // of several; -1: none is named
  bool operator==(const Properties &other) const {
    return scale == other.scale && rank == other.rank && task == other.task;
  }
};

// Updated parameters by row of the parameter table.
using Materialized = std::map<int, std::shared_ptr<void>>;

// A row- or call-bound adapter.
// Elements of an entry's tensors, and which of them are int64 rather than f32.
struct EntrySizes {
  int64_t elements[ADAPTER_ENTRY_TENSORS] = {};
  bool integers[ADAPTER_ENTRY_TENSORS] = {};
};

struct Prepared {
  std::map<int, adapter_entry_v1> entries; // by bank
  std::map<int, EntrySizes> sizes;
  std::vector<std::shared_ptr<void>> owners;
};
// What acts beside the weights; `weights` stand for the artifact's own parameters where they have them.
Result<Prepared> prepare(const Artifact &artifact, Resources &resources, const Source &source,
                         const Properties &properties, const Materialized &weights);

// Applies an adapter that acts in the weights on top of `weights`, several parameters at a time. Updates of few elements
// cost what they change where the weight is the pristine one or this adapter's own already.
Status materialize(const Artifact &artifact, Resources &resources, const Source &source,
                   const Properties &properties, Materialized &weights, TouchedCopies &copies);

// The base that a form's function sees: the pristine parameter, or what an earlier update made of it.
struct Base {
  void *data = nullptr;
  std::vector<int64_t> dims;
  int32_t dtype = static_cast<int32_t>(checkpoint::DType::F32);
  bool isSizesOnly = false;    // nothing may be read of the data
  std::shared_ptr<void> owner; // of what is stored in a narrow format and was made wide
};
// `updated` is null for the pristine one.
Result<Base> baseOf(const Artifact &artifact, Resources &resources, const artifact::Site &site,
                    void *updated);

// Runs one of a form's functions over a base and an update's tensors; `weights` has what changed of the weight beside a bias.
Result<std::vector<Output>> runForm(const Artifact &artifact, Resources &resources,
                                    const artifact::SiteForm &form, int function, const Base &base,
                                    const Materialized &weights, const SiteUpdate &update,
                                    const Properties &properties, const std::vector<int32_t> &dtypes);

// Keeps what the last inputs of a form's function point to.
struct NumberInputs {
  std::vector<double> scalars;
  std::vector<int64_t> symbols;
  int64_t counts[2] = {0, 0};
};
// Adds them: the scale, or of a definition its scalars, with that for the scale among them, and its symbols.
void appendNumbers(const SiteUpdate &update, const double &scale, NumberInputs &numbers,
                   std::vector<adapter_tensor_v1> &inputs);

} // namespace adapter::runtime

#endif // ADAPTER_LIB_RUNTIME_REALISE_H
