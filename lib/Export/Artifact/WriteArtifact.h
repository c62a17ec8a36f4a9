// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Writes model.adapt/: code, manifest, parameters and adapters.
#ifndef ADAPTER_LIB_EXPORT_ARTIFACT_WRITEARTIFACT_H
#define ADAPTER_LIB_EXPORT_ARTIFACT_WRITEARTIFACT_H

#include "lib/Artifact/manifest.pb.h"
#include "lib/Checkpoint/Result.h"
#include "lib/Checkpoint/Temporary.h"
#include "lib/Checkpoint/Tensor.h"
#include <string>
#include <vector>

namespace adapter {

/// A file of safetensors within the artifact.
struct TensorFile {
  std::string name; // relative: "parameters.safetensors", "adapters/sql.safetensors"
  std::vector<checkpoint::Tensor> tensors;
};

/// A folder that appears under its name in one step, or not at all. What exists there is replaced if it is an
/// artifact, else refused.
class ArtifactFolder {
public:
  static checkpoint::Result<ArtifactFolder> create(const std::string &path);

  /// Where files are written before commit.
  const std::string &folder() const { return temporary.path(); }
  /// Writes a file of tensors and enters its hashes into the manifest.
  checkpoint::Status writeTensors(const TensorFile &file, artifact::Manifest &manifest);
  /// Writes the manifest and the hash of code.so, which must stand there, and moves everything into place.
  checkpoint::Status commit(const std::string &manifest);

  /// A message about a file in it, which names the place where that was to be.
  checkpoint::Error atTarget(checkpoint::Error error) const { return temporary.atTarget(std::move(error)); }

private:
  ArtifactFolder(std::string path, checkpoint::Temporary temporary)
      : path(std::move(path)), temporary(std::move(temporary)) {}
  std::string path;
  checkpoint::Temporary temporary;
};

} // namespace adapter

#endif // ADAPTER_LIB_EXPORT_ARTIFACT_WRITEARTIFACT_H
