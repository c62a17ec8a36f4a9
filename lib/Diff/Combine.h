// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Several LoRAs as one.
#ifndef ADAPTER_LIB_DIFF_COMBINE_H
#define ADAPTER_LIB_DIFF_COMBINE_H

#include "lib/Checkpoint/Result.h"
#include <cstdint>
#include <string>
#include <vector>

namespace adapter::diff {

struct Combination {
  enum class Prune { None, Magnitude, Random };
  std::string name;
  bool keepsAll = false;  // the factors one behind the other: the sum itself, its rank the sum of ranks
  bool onFactors = false; // A and B apart, as PEFT does without "_svd"; else the products
  Prune prune = Prune::None;
  bool elects = false; // TIES: elements whose sign is not the majority's do not count
  // Settings.
  double density = 1.0;     // the share of elements that pruning leaves
  int64_t rank = 0;         // of a result that is factorised; 0: the largest of the parts
  bool countsSigns = false; // the majority is of signs, not of the elements' sum
  uint64_t seed = 0;        // of random pruning
};

// METHOD[,density=D][,rank=R][,sign=total|frequency][,seed=N]; what is wrong with it otherwise.
checkpoint::Result<Combination> parseCombination(const std::string &text);

struct Part {
  std::string path;
  double weight = 1.0;
};

struct Combined {
  int64_t modules = 0, rank = 0; // the largest rank
};

// Writes a PEFT folder of the LoRAs at `parts`, which may have other modules each, and other ranks unless the method
// works on factors. An error names what is not a LoRA.
checkpoint::Result<Combined> combine(const Combination &how, const std::vector<Part> &parts,
                                     const std::string &folder);

// `adapter-opt combine ...`; `argv[1]` is "combine". Returns the exit code.
int combineCommand(int argc, char **argv);

} // namespace adapter::diff

#endif // ADAPTER_LIB_DIFF_COMBINE_H
