// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Chunks.h.
#include "lib/Artifact/Chunks.h"
#include "lib/Checkpoint/Hash.h"
#include "lib/Checkpoint/Safetensors.h"
#include "lib/Checkpoint/Work.h"
#include <algorithm>

namespace adapter::artifact {

using checkpoint::Result;
using checkpoint::Safetensors;

Result<FileHash> hashTensorFile(const std::string &path, const std::string &name) {
  Result<Safetensors> file = checkpoint::readSafetensors(path);
  if (!file)
    return file.error();
  const std::byte *data = file->file.data;
  std::vector<uint64_t> ends; // of the header and of each tensor but the last
  for (const checkpoint::Tensor &tensor : file->tensors)
    ends.push_back(static_cast<uint64_t>(tensor.data - data));
  ends.push_back(file->file.size);
  FileHash result;
  result.set_file(name);
  result.set_size(file->file.size);
  checkpoint::Hasher hasher;
  uint64_t begin = 0;
  for (uint64_t end : ends)
    while (begin < end) {
      if (checkpoint::isCancelled())
        return checkpoint::cancelledError();
      uint64_t length = std::min(end - begin, maxChunkBytes);
      hasher.reset();
      hasher.add(data + begin, length);
      result.add_lengths(length);
      result.mutable_hashes()->append(hasher.digest());
      begin += length;
    }
  return result;
}

} // namespace adapter::artifact
