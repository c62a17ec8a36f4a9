// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Extracts an adapter from two checkpoints of which one is a change of the other.
#ifndef ADAPTER_LIB_DIFF_DIFF_H
#define ADAPTER_LIB_DIFF_DIFF_H

#include "lib/Checkpoint/Result.h"
#include <cstdint>
#include <string>
#include <vector>

namespace adapter::diff {

enum class Form { Sparse, LowRank };

struct Options {
  Form form = Form::Sparse;
  int64_t rank = 16;      // of a low-rank form
  double density = 1.0;   // of a sparse form: the share of a tensor's elements that it may hold
  bool overwrite = false; // a sparse form holds new values rather than differences
};

// What became of one tensor that changed.
struct Change {
  std::string key;
  std::string form;  // "sparse", "lora", "lora_embedding" or "whole"
  int64_t size = 0;  // non-zeros, or rank
  double kept = 1.0; // share of the change's sum of squares that the adapter holds
  double weight = 0; // that sum of squares
  bool tied = false; // a table that the output head follows, where the model ties the two
};

struct Report {
  std::vector<Change> changes;
  int64_t unchanged = 0;
  // Of all changes together.
  double kept() const;
};

// Writes `folder` (adapter_config.json, adapter_model.safetensors). Base and tuned are .safetensors files, or folders of
// them, that hold the same tensors in the same shapes; a difference in that is an error that names the tensor.
checkpoint::Result<Report> extract(const std::string &base, const std::string &tuned,
                                   const std::string &folder, const Options &options);

// Factors of the best approximation of a rows x columns matrix by `rank` directions: b [rows, rank] and
// a [rank, columns], each with half of the singular values; fewer directions where the matrix has fewer.
struct Factors {
  int64_t rank = 0;
  std::vector<double> a, b;
  double lost = 0, squares = 0; // sums of squares: of what they leave out, of the matrix
};
checkpoint::Result<Factors> factorise(const double *matrix, int64_t rows, int64_t columns, int64_t rank);

// The same of the product of a rows x inner matrix and an inner x columns one.
checkpoint::Result<Factors> factoriseProduct(const double *left, const double *right, int64_t rows,
                                             int64_t inner, int64_t columns, int64_t rank);

// `adapter-opt diff ...`; `argv[1]` is "diff". Returns the exit code.
int command(int argc, char **argv);

} // namespace adapter::diff

#endif // ADAPTER_LIB_DIFF_DIFF_H
