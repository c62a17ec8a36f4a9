// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The safetensors format: a strict mapping reader, and a writer whose tensors are 64-byte aligned.
#ifndef ADAPTER_LIB_CHECKPOINT_SAFETENSORS_H
#define ADAPTER_LIB_CHECKPOINT_SAFETENSORS_H

#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Result.h"
#include "lib/Checkpoint/Tensor.h"
#include <map>
#include <string>
#include <vector>

namespace adapter::checkpoint {

struct Safetensors {
  std::vector<Tensor> tensors; // in the order of the file; padding tensors (`__pad.N`) left out
  std::map<std::string, std::string> metadata;
  MappedFile file;

  const Tensor *find(const std::string &key) const;
};

// Maps a file. Everything the header says is checked against the file: types, sizes, overlaps, holes.
Result<Safetensors> readSafetensors(const std::string &path, bool keepDescriptor = false);

// Writes the tensors under their `key`s in the given order, by rename. The header is padded and a
// `__pad.N` tensor follows each whose size is no multiple of 64, since readers refuse holes.
Status writeSafetensors(const std::string &path, const std::vector<Tensor> &tensors,
                        const std::map<std::string, std::string> &metadata = {});

// The same, but the file is not in its place before commit, and may not take that of one that is mapped.
Result<std::unique_ptr<AtomicFile>>
prepareSafetensors(const std::string &path, const std::vector<Tensor> &tensors,
                   const std::map<std::string, std::string> &metadata = {});

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_SAFETENSORS_H
