// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Modules of a graph found by the contents of their weights, for graphs whose names say nothing.
#ifndef ADAPTER_LIB_ATTACH_CONTENTS_H
#define ADAPTER_LIB_ATTACH_CONTENTS_H

#include "lib/Attach/Fused.h"
#include "lib/Checkpoint/BaseModel.h"

namespace adapter {

/// Which tensors of a graph are, or hold, which tensors of the checkpoint that it was exported from.
class ContentIndex {
public:
  ContentIndex(const checkpoint::BaseModel &base, const ModuleTable &table);

  struct Place {
    std::vector<FusedPart> parts; ///< several where the graph holds copies, or a module runs several times
    std::string problem;          ///< why none of several that have these contents can be taken
  };
  /// Where the graph has the base's tensor `key`. Of tensors with equal contents each has its own place: told apart by
  /// kind, by names, or, where they are the same parameter of numbered layers, by the order in which the graph runs
  /// them. `kind` is what the parameter is known to be.
  Place find(const std::string &key, std::optional<SiteKind> kind) const;

  /// Keys of the base that have the same contents and shape as `key`, itself included.
  std::vector<std::string> twins(const std::string &key) const;

private:
  using Parts = std::vector<FusedPart>;
  void readMatrix(ModuleParameter &parameter);
  void readVectors();
  Place findMatrix(const std::string &key, const checkpoint::Tensor &tensor,
                   std::optional<SiteKind> kind) const;
  Place findVector(const std::string &key, const checkpoint::Tensor &tensor) const;
  Parts findBias(const std::string &key, const checkpoint::Tensor &tensor) const;

  std::map<std::string, checkpoint::Tensor> wide;                        // f32, by key
  std::map<std::string, std::vector<std::pair<std::string, bool>>> rows; // by first row: key, transposed
  std::map<std::string, std::vector<std::string>> byContents;            // keys, by shape and hash
  std::map<std::string, std::string> hashes;                             // of those, by key
  std::map<std::string, Parts> matrices;                                 // by key, in the order of the graph
  std::vector<std::pair<ModuleParameter *, checkpoint::Tensor>> vectors; // with what they hold, in f32
};

} // namespace adapter

#endif // ADAPTER_LIB_ATTACH_CONTENTS_H
