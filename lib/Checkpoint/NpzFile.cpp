// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// .npz for reading; see Npy.h. ZipArchive bounds what a member may claim by what the archive holds; here the machine's
// memory does.
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Npy.h"
#include "lib/Checkpoint/Text.h"
#include "lib/Checkpoint/ZipArchive.h"
#include <unistd.h>

namespace adapter::checkpoint {

static uint64_t machineMemory() {
  long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0 ? static_cast<uint64_t>(pages) * static_cast<uint64_t>(size) : UINT64_MAX;
}

Result<NpzFile> NpzFile::open(const std::string &path) {
  Result<ZipArchive> archive = ZipArchive::open(path);
  if (!archive)
    return archive.error();
  NpzFile result(path, std::make_shared<ZipArchive>(std::move(*archive)));
  uint64_t free = machineMemory();
  for (const ZipArchive::Member &member : result.archive->members()) {
    if (!endsWith(member.name, ".npy"))
      return Error{path + ": member '" + member.name + "' is no .npy array"};
    if (member.size > free)
      return Error{path + ": its arrays take more memory than this machine has"};
    free -= member.size;
    result.arrays.push_back(member.name.substr(0, member.name.size() - 4));
  }
  return result;
}

Result<Tensor> NpzFile::read(size_t number) const {
  const ZipArchive::Member &member = archive->members()[number];
  Tensor bytes = allocateTensor(DType::U8, {static_cast<int64_t>(member.size)});
  if (Status status = archive->read(number, mutableData(bytes)); !status)
    return status.error();
  std::string_view text(reinterpret_cast<const char *>(bytes.data), bytes.bytes);
  Result<Tensor> tensor = parseNpy(path + ": member '" + member.name + "'", text, bytes.owner);
  if (tensor)
    tensor->key = arrays[number];
  return tensor;
}

} // namespace adapter::checkpoint
