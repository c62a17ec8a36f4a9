// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// NumPy's files, .npy and .npz, in both directions.
#ifndef ADAPTER_LIB_CHECKPOINT_NPY_H
#define ADAPTER_LIB_CHECKPOINT_NPY_H

#include "lib/Checkpoint/Result.h"
#include "lib/Checkpoint/Tensor.h"
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace adapter::checkpoint {

class ZipArchive;

// Reads versions 1 to 3 with plain types. Big-endian and Fortran order become little-endian and C order.
Result<Tensor> readNpy(const std::string &path);
// The same of text in memory that `owner` keeps alive; `what` names it in messages.
Result<Tensor> parseNpy(const std::string &what, std::string_view text, std::shared_ptr<const void> owner);

// The text before the data. bfloat16 and the 8-bit floats, which NumPy lacks, become raw types (V2, V1).
Result<std::string> npyHeader(const Tensor &tensor);

// `tensor` as a file of its own; written by rename.
Status writeNpy(const std::string &path, const Tensor &tensor);

// An archive that is read array by array: what is not asked for costs nothing. Members are stored or deflated, of any
// size. Files from anywhere may be opened: what a member claims to unpack to is held against what deflate can do and
// against the machine's memory before any is taken.
class NpzFile {
public:
  static Result<NpzFile> open(const std::string &path);
  // In the order of the file; without ".npy".
  const std::vector<std::string> &names() const { return arrays; }
  // The array of that number, under its name.
  Result<Tensor> read(size_t number) const;

private:
  NpzFile(std::string path, std::shared_ptr<const ZipArchive> archive)
      : path(std::move(path)), archive(std::move(archive)) {}
  std::string path;
  std::shared_ptr<const ZipArchive> archive;
  std::vector<std::string> arrays;
};

// An uncompressed archive of the tensors under their `key`s, in order; written by rename.
Status writeNpz(const std::string &path, const std::vector<Tensor> &tensors);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_NPY_H
