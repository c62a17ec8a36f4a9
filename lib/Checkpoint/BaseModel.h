// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The checkpoint of a base model: one .safetensors file, or a folder of them with or without an index.
#ifndef ADAPTER_LIB_CHECKPOINT_BASEMODEL_H
#define ADAPTER_LIB_CHECKPOINT_BASEMODEL_H

#include "lib/Checkpoint/Safetensors.h"
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace adapter::checkpoint {

class BaseModel {
public:
  /// Maps a file or folder. Shards are those that `model.safetensors.index.json` lists, where there is one; a shard
  /// that is missing or lacks a tensor, and a tensor that is in two files, are errors.
  static Result<BaseModel> open(const std::string &path);

  const std::string &path() const { return where; }
  const std::vector<const Tensor *> &tensors() const { return all; } ///< in the order of files and keys
  const Tensor *find(const std::string &key) const;
  /// A hash of all names, types, shapes and contents, equal for every way of splitting them into files; computed once.
  const std::string &digest() const;

private:
  Status add(const std::string &file);

  std::string where;
  std::vector<std::shared_ptr<const Safetensors>> files;
  std::vector<const Tensor *> all;
  std::unordered_map<std::string, const Tensor *> byKey;
  mutable std::string hash;
};

/// The folder of a model that a configuration names: itself where it is a folder with weights, or the snapshot in the
/// local Hugging Face cache. Nothing where neither is there; nothing is downloaded.
std::optional<std::string> findLocalModel(const std::string &nameOrPath, const std::string &revision);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_BASEMODEL_H
