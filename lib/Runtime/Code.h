// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The code of an artifact: checked, then loaded.
#ifndef ADAPTER_LIB_RUNTIME_CODE_H
#define ADAPTER_LIB_RUNTIME_CODE_H

#include "adapter-rt/artifact.h"
#include "lib/Artifact/manifest.pb.h"
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Result.h"
#include <memory>
#include <string>
#include <vector>

namespace adapter::runtime {

struct Code {
  checkpoint::MappedFile file, hash; // code.so and code.hash, as they were compared
  std::shared_ptr<void> handle;      // unloads the code
  const adapter_artifact_v1 *table = nullptr;
};

// Loads folder/code.so after comparing it with folder/code.hash; nothing of a changed file runs.
checkpoint::Result<Code> loadCode(const std::string &folder);

// Whether this machine has what the manifest asks for.
checkpoint::Status checkMachine(const artifact::Manifest &manifest, const std::string &where);

} // namespace adapter::runtime

#endif // ADAPTER_LIB_RUNTIME_CODE_H
