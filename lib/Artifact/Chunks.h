// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The chunks of an artifact's file, each of which has a hash of its own in the manifest: the header is one, each tensor
// with the padding behind it another; long ones are several. A chunk that is damaged so tells which tensor is.
#ifndef ADAPTER_LIB_ARTIFACT_CHUNKS_H
#define ADAPTER_LIB_ARTIFACT_CHUNKS_H

#include "lib/Artifact/manifest.pb.h"
#include "lib/Checkpoint/Result.h"
#include <string>

namespace adapter::artifact {

// At most: 30 GB have 7200 such chunks, whose hashes are 115 kB of the manifest.
constexpr uint64_t maxChunkBytes = uint64_t(4) << 20;

// The chunks of a safetensors file and their hashes, under the name that it has within the artifact.
checkpoint::Result<FileHash> hashTensorFile(const std::string &path, const std::string &name);

} // namespace adapter::artifact

#endif // ADAPTER_LIB_ARTIFACT_CHUNKS_H
