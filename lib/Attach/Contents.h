// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Modules of a graph found by the contents of their weights, for graphs whose names say nothing.
#ifndef ADAPTER_LIB_ATTACH_CONTENTS_H
#define ADAPTER_LIB_ATTACH_CONTENTS_H

#include "lib/Attach/Fused.h"
#include "lib/Checkpoint/Safetensors.h"

namespace adapter {

/// Which tensors of a graph are, or hold, which tensors of the checkpoint that it was exported from.
class ContentIndex {
public:
  /// Maps `path`: a .safetensors file, or a folder of them.
  static checkpoint::Result<std::vector<checkpoint::Safetensors>> read(const std::string &path);

  ContentIndex(const std::vector<checkpoint::Safetensors> &base, const ModuleTable &table);

  /// Where a module's parameter is; several where it is in several tensors. `ambiguous` where other modules of
  /// the base have the same contents and could be meant.
  std::vector<FusedPart> find(const std::string &module, const std::string &parameter) const;

private:
  void readMatrix(ModuleParameter &parameter);
  void readVector(ModuleParameter &parameter);
  void readBiases();

  const ModuleTable &table;
  std::map<std::string, checkpoint::Tensor> base;                        // f32, by key
  std::map<std::string, std::vector<std::pair<std::string, bool>>> rows; // by first row: key, transposed
  std::map<std::string, std::vector<FusedPart>> found;                   // by key
};

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_CONTENTS_H
